"""What `jobs.export` refuses before it reads anything: each contradiction in one sentence, all at once."""

import pytest

from rank1_batch.cli.compose import load_settings
from rank1_batch.errors import SettingsError
from rank1_batch.jobs.export.choice import LabelSource, Pick, Rules
from rank1_batch.jobs.export.command import main
from rank1_batch.jobs.export.formats import FORMATS
from rank1_batch.jobs.export.settings import (
    JOB,
    ExportConfig,
    build_rules,
    check_export,
    describe_settings,
    find_scale,
    format_names,
)

PATHS = ("output.path=judged", "input.path=pairs", "labels.path=labels")


def load(*overrides: str) -> ExportConfig:
    return load_settings([*PATHS, *overrides], "export", ExportConfig, check_export)


def problems_of(*overrides: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(*overrides)
    return caught.value.problems


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_can_be_asked_for_alone(name: str) -> None:
    assert format_names(load(f"format={name}")) == [name]


def test_several_formats_are_asked_for_at_once_each_one_time() -> None:
    assert format_names(load("format=[qrels,tevatron,qrels]")) == ["qrels", "tevatron"]


def test_settings_left_alone_are_the_rules_left_alone() -> None:
    assert build_rules(load("format=qrels")) == Rules()


def test_settings_become_rules() -> None:
    rules = build_rules(
        load(
            "format=qrels", "qrels=grades.txt", "labels.source=qrels", "labels.finishes=[complete,closed]",
            "labels.margin=0.2", "labels.negative_ranks=[10,100]", "labels.drop_called_true=false", "labels.ratio=0.95",
            "labels.max_positives=2", "labels.max_negatives=8", "labels.pick=hard", "labels.keep_without=[negative]",
            "labels.agree_with=qrels", "labels.seed=3",
        )
    )  # fmt: skip
    assert rules == Rules(
        source=LabelSource.GIVEN, finishes=frozenset({"complete", "closed"}), agree=True, margin=0.2,
        negative_ranks=(10, 100), drop_called_true=False, ratio=0.95, max_positives=2, max_negatives=8,
        pick=Pick.HARD, keep_without_negative=True, seed=3,
    )  # fmt: skip


def test_what_is_missing_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings([], "export", ExportConfig, check_export)
    assert [problem.split()[0] for problem in caught.value.problems] == ["format", "labels.path", "output.path"]


def test_no_place_of_files_is_described_since_it_may_hold_a_credential() -> None:
    places = ("output.path", "input.path", "labels.path", "qrels")
    urls = [f"{place}=s3://key:secret-{place}@bucket/{place}" for place in places]
    described = str(describe_settings(load("format=qrels", *urls)))
    assert "secret" not in described


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["format=colbert"], "format=colbert: no such format; there are tevatron"),
        (["format=[]"], "format is empty"),
        (["format=qrels", "labels.path=pairs/labels"], "labels.path lies inside the input pairs"),
        (["format=tevatron", "labels.keep_without=[positive]"], "format=tevatron needs a positive and a negative"),
        (["format=rank1", "labels.finishes=[no_think]"], "format=rank1 trains on reasoning"),
        (["format=qrels", "labels.finishes=[done]"], "labels.finishes has 'done', but must be one of complete"),
        (["format=qrels", "labels.finishes=[error]"], "labels.finishes has 'error'"),
        (["format=qrels", "labels.finishes=[]"], "labels.finishes is empty"),
        (["format=qrels", "labels.keep_without=[both]"], "labels.keep_without has 'both'"),
        (["format=qrels", "labels.targets=hard"], "labels.targets has 'hard', but must be one of score, label"),
        (["format=qrels", "labels.pick=easy"], "labels.pick has 'easy', but must be one of random, hard"),
        (["format=qrels", "labels.prompt=Find"], "labels.prompt: no format but flagembedding"),
        (["format=qrels", "labels.scale=percent"], "labels.scale has 'percent'"),
        (["format=qrels", "labels.positive_from=1.5"], "labels.positive_from is 1.5, but must be between 0 and 1"),
        (["format=qrels", "labels.negative_to=0.8"], "labels.negative_to (0.8) is over labels.positive_from (0.5)"),
        (["format=qrels", "labels.margin=-0.1"], "labels.margin is -0.1"),
        (["format=qrels", "labels.ratio=2"], "labels.ratio is 2"),
        (["format=qrels", "labels.dev_share=nan"], "labels.dev_share is nan"),
        (["format=qrels", "labels.max_positives=0"], "labels.max_positives is 0, but must be at least 1"),
        (["format=qrels", "labels.max_negatives=0"], "labels.max_negatives is 0"),
        (["format=qrels", "labels.negatives_per_positive=0"], "labels.negatives_per_positive is 0"),
        (["format=qrels", "labels.shard_rows=0"], "labels.shard_rows is 0"),
        (["format=qrels", "labels.negative_ranks=[5]"], "labels.negative_ranks is [5]"),
        (["format=qrels", "labels.negative_ranks=[9,5]"], "labels.negative_ranks is [9, 5]"),
        (
            ["format=qrels", "labels.negatives_per_positive=1", "labels.keep_without=[positive]"],
            "labels.negatives_per_positive leaves no negative",
        ),
        (["format=qrels", "labels.source=qrels"], "qrels must be given: labels.source or labels.agree_with"),
        (["format=qrels", "labels.agree_with=qrels"], "qrels must be given: labels.source or labels.agree_with"),
        (
            ["format=qrels", "qrels=grades", "labels.source=qrels", "labels.agree_with=human"],
            "labels.agree_with (human) and labels.source (qrels) differ",
        ),
        (["format=qrels", "trust.calibration=platt"], "qrels must be given: trust.calibration=platt"),
        (["format=qrels", "qrels=grades", "trust.calibration=beta"], "trust.calibration has 'beta'"),
        (
            ["format=scores", "qrels=grades", "trust.calibration=isotonic", "labels.scale=log_odds"],
            "trust.calibration=isotonic gives 0 and 1, which have no log-odds, but format=scores has log-odds",
        ),
        (
            ["format=tevatron", "qrels=grades", "trust.calibration=isotonic"],
            "trust.calibration=isotonic gives 0 and 1, which have no log-odds, but format=tevatron has log-odds",
        ),
        (["format=qrels", "trust.fit_share=1"], "trust.fit_share is 1"),
        (["format=qrels", "trust.resamples=0"], "trust.resamples is 0"),
        (["format=qrels", "trust.wanted_precision=[0]"], "trust.wanted_precision has 0"),
    ],
)
def test_what_cannot_work_is_told(overrides: list[str], told: str) -> None:
    (problem,) = problems_of(*overrides)
    assert told in problem


def test_all_contradictions_are_told_at_once() -> None:
    overrides = ("format=[colbert,tevatron]", "labels.keep_without=[negative]", "labels.margin=2", "trust.fit_share=0")
    assert len(problems_of(*overrides)) == 4


def test_contradictions_end_the_command_with_exit_code_2(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*PATHS, "format=qrels", "labels.negative_to=0.8"]) == 2
    assert "labels.negative_to" in capfd.readouterr().err


def test_help_has_a_line_for_every_format() -> None:
    assert all(f"\n  {name} " in JOB.about for name in FORMATS)


def test_trainers_that_take_a_softmax_get_log_odds_unless_the_settings_say_otherwise() -> None:
    def scales(*overrides: str) -> dict[str, str | None]:
        config = load(f"format=[{','.join(FORMATS)}]", *overrides)
        return {name: find_scale(config, name) for name in FORMATS}

    others = {
        "st_pairs": "probability",
        "st_triplets": "probability",
        "st_lists": "probability",
        "scores": "probability",
    }
    unscored = {"qrels": None, "rank1": None}
    assert scales() == {"tevatron": "log_odds", "flagembedding": "log_odds", **others, **unscored}
    assert set(scales("labels.scale=probability").values()) == {"probability", None}
    assert set(scales("labels.scale=log_odds").values()) == {"log_odds", None}

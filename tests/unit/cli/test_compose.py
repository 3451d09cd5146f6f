"""Settings of any job; `test_conf.py` composes the main job's files and its mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from rank1_batch.cli.choices import find_conf_folder, list_choices
from rank1_batch.cli.compose import load_settings
from rank1_batch.errors import SettingsError
from rank1_batch.settings import RerankConfig, load_config

PATHS = ("input.path=pairs", "output.path=judged")


@dataclass
class OtherSettings(RerankConfig):
    """Another job's, which conf/rerank.yaml serves as well."""

    depth: int = 100


def load(*overrides: str) -> OtherSettings:
    def check(settings: OtherSettings) -> list[str]:
        return ["depth is odd"] if settings.depth % 2 else []

    return load_settings([*PATHS, *overrides], "rerank", OtherSettings, check)


def problems_of(*overrides: str) -> list[str]:
    """What is wrong with settings of the main job."""
    with pytest.raises(SettingsError) as caught:
        load_config([*PATHS, *overrides])
    return caught.value.problems


def test_a_job_gets_its_own_dataclass() -> None:
    settings = load("depth=4", "input.columns.query_id=qid")
    assert (settings.depth, settings.input.columns) == (4, {"query_id": "qid"})


def test_what_a_job_finds_wrong_is_told_as_one_error() -> None:
    with pytest.raises(SettingsError) as caught:
        load("depth=3")
    assert caught.value.problems == ["depth is odd"]


@pytest.mark.parametrize("override", ["dept=3", "+dept=3"])
def test_a_misspelt_key_of_its_own_is_told_with_the_right_word(override: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(override)
    assert caught.value.problems == ["dept: no such setting, did you mean depth?"]


OWN = """\
defaults: [scifact]
id: mine
version: 3
dataset_prompt: "Statement: FILL_QUERY_HERE"
"""


def test_a_choice_may_be_a_file_of_ones_own_and_build_on_ours(tmp_path: Path) -> None:
    (tmp_path / "my prompt.yaml").write_text(OWN)
    prompt = load(f"prompt={tmp_path}/my prompt.yaml", "prompt.version=4").prompt
    assert (prompt.id, prompt.version, prompt.dataset_prompt) == ("mine", 4, "Statement: FILL_QUERY_HERE")
    assert prompt.template == load().prompt.template


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (OWN.replace("version", "versio"), "prompt.versio: no such setting, did you mean prompt.version?"),
        (OWN.replace("FILL", "FIL"), "prompt.dataset_prompt must hold FILL_QUERY_HERE where the query goes"),
        (OWN.replace("3", "two"), "prompt.version is 'two', but must be a whole number"),
        (OWN.replace("Statement", "${x}"), "prompt.dataset_prompt: Interpolation key 'x' not found"),
        ("id: mine", "prompt.template must be given: prompt.template=…"),
    ],
)
def test_what_is_wrong_in_a_file_of_ones_own_names_the_file(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert problems_of(f"prompt={path}") == [f"{problem} (in {path})"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (OWN.replace("scifact", "scifat"), "In '{path}': Could not load 'prompt/scifat'."),
        ("- mine", "prompt={path}: must hold settings, one a line, as the files in conf/prompt do"),
    ],
)
def test_a_file_of_ones_own_that_is_no_choice_is_named(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert problems_of(f"prompt={path}") == [problem.format(path=path)]


def test_own_files_that_cannot_be_read_are_named_together(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("id: [mine\nversion: 2")
    broken, none = problems_of(f"prompt={tmp_path}/broken.yaml", f"policy={tmp_path}/none.yaml")
    assert broken.startswith(f"prompt={tmp_path}/broken.yaml: cannot be read: ")
    assert "line 2" in broken
    assert none.startswith(f"policy={tmp_path}/none.yaml: cannot be read: ")


def test_a_kind_that_is_none_is_refused_in_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("kind: short")
    assert problems_of(f"policy={path}") == [f"policy.kind is 'short', but must be one of full, no_think (in {path})"]


def test_choices_are_those_of_the_folder() -> None:
    assert set(list_choices()) == {folder.name for folder in find_conf_folder().iterdir() if folder.is_dir()}


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("run.grace_s=soon", "run.grace_s is 'soon', but must be a number"),
        ("cluster.max_replicas=x y", "cluster.max_replicas is 'x y', but must be a whole number"),
        ("run.fresh=perhaps", "run.fresh is 'perhaps', but must be true or false"),
        ("engine.args=x", "engine.args holds settings of its own: type engine.args.NAME=VALUE"),
        ("input=pairs", "input holds settings of its own: type input.NAME=VALUE"),
        ("gates.warn=3", "gates.warn holds settings of its own: type gates.warn.NAME=VALUE"),
        ("hydra.run.dir=x", "hydra.run.dir: no such setting"),
        (
            "engine.args.x=a=b",
            "engine.args.x=a=b: cannot be read; put quotes around a value with = , or blanks: 'key=\"a=b\"'",
        ),
    ],
)
def test_a_value_that_cannot_be_meant_gets_a_sentence(override: str, problem: str) -> None:
    assert problems_of(override) == [problem]


def test_a_checkpoint_that_is_no_choice_is_shown_the_way() -> None:
    (problem,) = problems_of("model=org/checkpoint")
    assert problem.endswith(", and model=custom model.name=org/checkpoint takes any other")


def test_a_text_stays_as_typed_where_settings_of_an_earlier_run_are_filled_in() -> None:
    def restore(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
        """As `recorded.restore_settings`, which copies what was typed over what was recorded."""
        for override in overrides:
            key = override.partition("=")[0]
            OmegaConf.update(config, key, OmegaConf.select(config, key), merge=False)
        return config

    words = [*PATHS, "golden.path=${x}"]
    assert load_settings(words, "rerank", RerankConfig, lambda _: [], restore).golden.path == "${x}"

"""What a person reads: the card and the closing table."""

import io
import math
from typing import Any

import pytest
from huggingface_hub import DatasetCard
from rich.console import Console

from rank1_batch.jobs.export.card import draw_picture, format_measure, list_measures, list_rows, render_card
from rank1_batch.jobs.export.choice import Reason
from rank1_batch.jobs.export.command import print_report

MEASURE = {"value": 0.5, "low": 0.4, "high": 0.625}
UNDEFINED = {"value": None, "low": None, "high": None}
COUNTS = {"files": 1, "records": 2}
REPORT: dict[str, Any] = {
    "rows": 1_000_000,
    "exported": 999_986,
    "left_out": {reason.name.lower(): 1 for reason in Reason},
    "splits": {"train": {"queries": 10_000, "positives": 99_999, "negatives": 899_987}},
    "scales": {"tevatron": "log_odds", "st_pairs": "probability", "qrels": None},
    "example": {"format": "qrels", "record": "q 0 d 1"},
    "judged_on": "2026-11-24",
    "judged_by_versions": {"python": "3.11.1", "vllm": "0.32.0"},
    "versions": {"python": "3.12.0"},
    "files": {"qrels": {"train": {"files": 40, "records": 999_986}}},
    "score_histogram": {name: [1] * 20 for name in ("all", "positive", "negative")},
    "rows_not_judged": 0,
    "trust": None,
    "settings": {"labels": {"seed": 3}},
    "judged_with": {
        "model": {"name": "jhu-clsp/rank1-7b", "revision": "0123abc"},
        "prompt": {"id": "scifact", "version": 2},
        "policy": {"kind": "full"},
        "engine": {"kind": "vllm"},
    },
}
TRUST = {
    "graded": {"pairs": 50, "relevant": 20, "queries": 5},
    "one_sided": False,
    "verdicts": {"precision": MEASURE, "kappa": UNDEFINED},
    "labels": {"graded": {"pairs": 40, "relevant": 10, "queries": 4}, "precision_of_positives": MEASURE},
    "fitted_on": {"pairs": 25, "relevant": 9, "queries": 2},
    "reported_on": {"pairs": 25, "relevant": 11, "queries": 3},
    "reliability": {
        "judged": {"brier": 0.25, "calibration_error": 0.125, "bins": [{"mean_score": 0.4, "relevant_share": 0.5}]}
    },
    "thresholds": [
        {"wanted_precision": 0.9, "positive_from": 0.75, "lower_bound": 0.91, "precision": MEASURE, "recall": MEASURE},
        {"wanted_precision": 0.95, "positive_from": None},
    ],
}


def test_rows_are_those_in_those_left_out_and_those_exported() -> None:
    (_, total, _), *left_out, (_, exported, share) = list_rows(REPORT)
    assert total - sum(rows for _, rows, _ in left_out) == exported
    assert len(left_out) == len(Reason)
    assert share == "100.0%"


@pytest.mark.parametrize("trust", [None, TRUST])
def test_the_terminal_shows_every_reason_in_80_columns(trust: object) -> None:
    file = io.StringIO()
    print_report({**REPORT, "trust": trust}, Console(file=file, width=80))
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert all(any(reason.value in line for line in lines) for reason in Reason)


def test_the_card_says_what_judged_and_how_far_to_trust_it() -> None:
    card = render_card({**REPORT, "trust": TRUST})
    assert "jhu-clsp/rank1-7b @0123abc, engine vllm, prompt scifact version 2, policy full" in card
    assert "| verdict: precision | 0.500  (0.400 to 0.625) |" in card
    assert "| label: precision of positives | 0.500  (0.400 to 0.625) |" in card
    assert "| 0.9 | 0.75 | 0.910 | 0.500  (0.400 to 0.625) | 0.500  (0.400 to 0.625) |" in card
    assert "| 0.95 | not reached | - | - | - |" in card
    assert "labels.seed: 3" in card
    assert "Not measured: no qrels were given." in render_card(REPORT)


def test_the_card_has_a_date_versions_and_an_example() -> None:
    card = render_card(REPORT)
    assert "The judging ended on 2026-11-24 (UTC)." in card
    assert "| vllm | 0.32.0 | - |" in card
    assert "| python | 3.11.1 | 3.12.0 |" in card
    assert "~~~json\nq 0 d 1\n~~~" in card


def test_the_card_says_which_scale_and_why() -> None:
    """exp(.999) / (exp(.999) + 7 exp(.001)) = 0.279."""
    card = render_card(REPORT)
    assert "| tevatron | log-odds |" in card
    assert "| st_pairs | probability |" in card
    assert "| qrels |" not in card.split("## Data")[1].split("scores are")[1].split("##")[0]
    assert math.exp(0.999) / (math.exp(0.999) + 7 * math.exp(0.001)) == pytest.approx(0.28, abs=0.005)
    assert "a passage of 0.999 only 0.28 beside seven of 0.001" in card


def test_the_front_matter_is_that_of_the_hub() -> None:
    """Read by the hub's own library, which `datasets` asks for the files of each configuration."""
    files = {"tevatron": {"train": COUNTS, "dev": COUNTS}, "qrels": {"train": COUNTS}, "st_pairs": {"train": COUNTS}}
    front = vars(DatasetCard(render_card({**REPORT, "files": files})).data)
    assert front["task_categories"] == ["text-ranking"]
    splits = [{"split": "train", "path": "tevatron/train/*"}, {"split": "dev", "path": "tevatron/dev/*"}]
    assert front["configs"][0] == {"config_name": "tevatron", "data_files": splits}
    assert [one["config_name"] for one in front["configs"]] == ["tevatron", "st_pairs"]
    assert "configs" not in vars(DatasetCard(render_card({**REPORT, "files": {"qrels": {"train": COUNTS}}})).data)


def test_a_dry_run_is_the_headline() -> None:
    report = {**REPORT, "judged_with": {**REPORT["judged_with"], "engine": {"kind": "scripted"}}}
    card = render_card(report)
    assert "\n# Made-up labels of a dry run\n" in card
    assert "# Silver labels\n" not in card
    file = io.StringIO()
    print_report(report, Console(file=file, width=80))
    assert file.getvalue().startswith("DRY RUN: no model was asked")


def test_the_card_says_what_one_sided_grades_can_show() -> None:
    card = render_card({**REPORT, "trust": {**TRUST, "one_sided": True, "reliability": {}}})
    assert "These grades are all relevant, or all not." in card
    assert "labels.positive_from" not in card


def test_what_is_not_defined_is_a_dash() -> None:
    assert format_measure(UNDEFINED) == "-"
    assert format_measure({"value": 0.5, "low": None, "high": None}) == "0.500"
    assert list_measures(REPORT) == []


@pytest.mark.parametrize("trust", [None, TRUST])
def test_the_same_figures_give_the_same_picture(trust: object) -> None:
    first, second = (draw_picture({**REPORT, "trust": trust}) for _ in range(2))
    assert first == second
    assert first.startswith(b"\x89PNG")

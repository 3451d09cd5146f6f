"""What a person reads: the card and the closing table."""

import io

import pytest
from rich.console import Console

from rank1_batch.jobs.export.card import draw_picture, format_measure, list_measures, list_rows, render_card
from rank1_batch.jobs.export.choice import Reason
from rank1_batch.jobs.export.command import print_report

MEASURE = {"value": 0.5, "low": 0.4, "high": 0.625}
UNDEFINED = {"value": None, "low": None, "high": None}
REPORT = {
    "rows": 1_000_000,
    "exported": 999_986,
    "left_out": {reason.name.lower(): 1 for reason in Reason},
    "splits": {"train": {"queries": 10_000, "positives": 99_999, "negatives": 899_987}},
    "files": {"qrels": {"train": {"files": 40, "records": 999_986}}},
    "score_histogram": {name: [1] * 20 for name in ("all", "positive", "negative")},
    "rows_not_judged": 0,
    "trust": None,
    "settings": {"labels": {"seed": 3}},
    "judged_with": {
        "model": {"name": "jhu-clsp/rank1-7b", "revision": "0123abc"},
        "prompt": {"id": "scifact", "version": 2},
        "policy": {"kind": "full"},
    },
}
TRUST = {
    "graded": {"pairs": 50, "relevant": 20, "queries": 5},
    "verdicts": {"precision": MEASURE, "kappa": UNDEFINED},
    "labels": {"graded": {"pairs": 40, "relevant": 10, "queries": 4}, "precision_of_positives": MEASURE},
    "fitted_on": {"pairs": 25, "relevant": 9, "queries": 2},
    "reported_on": {"pairs": 25, "relevant": 11, "queries": 3},
    "reliability": {
        "judged": {"brier": 0.25, "calibration_error": 0.125, "bins": [{"mean_score": 0.4, "relevant_share": 0.5}]}
    },
    "thresholds": [
        {"wanted_precision": 0.9, "positive_from": 0.75, "precision": MEASURE, "recall": MEASURE},
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
    assert "jhu-clsp/rank1-7b @0123abc, prompt scifact version 2, policy full" in card
    assert "| verdict: precision | 0.500  (0.400 to 0.625) |" in card
    assert "| label: precision of positives | 0.500  (0.400 to 0.625) |" in card
    assert "| 0.9 | 0.75 | 0.500  (0.400 to 0.625) | 0.500  (0.400 to 0.625) |" in card
    assert "| 0.95 | not reached | - | - |" in card
    assert "labels.seed: 3" in card
    assert "Not measured: no qrels were given." in render_card(REPORT)


def test_what_is_not_defined_is_a_dash() -> None:
    assert format_measure(UNDEFINED) == "-"
    assert format_measure({"value": 0.5, "low": None, "high": None}) == "0.500"
    assert list_measures(REPORT) == []


@pytest.mark.parametrize("trust", [None, TRUST])
def test_the_same_figures_give_the_same_picture(trust: object) -> None:
    first, second = (draw_picture({**REPORT, "trust": trust}) for _ in range(2))
    assert first == second
    assert first.startswith(b"\x89PNG")

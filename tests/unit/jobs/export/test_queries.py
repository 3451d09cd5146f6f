"""From rows of a bucket to queries with labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from rank1_batch.jobs.export.choice import Reason, Rules
from rank1_batch.jobs.export.queries import (
    MOST_LOG_ODDS,
    Chosen,
    choose_queries,
    find_log_odds,
    given_by_column,
    given_by_grades,
    read_given,
)
from rank1_batch.jobs.export.totals import Totals
from rank1_batch.jobs.export.trust import Calibration
from rank1_batch.output.judgments import JUDGMENT_TYPES

KEEP_ALL = Rules(keep_without_positive=True, keep_without_negative=True)


def row(query_id: str, doc_id: str, score: float | None, **more: Any) -> dict[str, Any]:
    log_odds = None if score is None else float(np.log(score / (1 - score)))
    return {
        "query_id": query_id,
        "doc_id": doc_id,
        "score": score,
        "true_logprob": log_odds,
        "false_logprob": None if score is None else 0.0,
        "label": None if score is None else score > 0.5,
        "finish": "error" if score is None else "complete",
        "unit_id": "u",
        "row": 1,
        "candidate": None,
        "first_stage_rank": None,
        **more,
    }


def text_row(query_id: str, query: str, doc_id: str, passage: str, score: float) -> dict[str, Any]:
    return row(query_id, doc_id, score, query=query, title=None, passage=passage)


def choose(rows: list[dict[str, Any]], rules: Rules = KEEP_ALL, calibration: Calibration | None = None) -> list[Chosen]:
    known = {name: kind for name, kind in JUDGMENT_TYPES.items() if name in rows[0]}
    columns = {name: pa.array([one[name] for one in rows], known.get(name)) for name in rows[0]}
    return list(choose_queries(pa.table(columns), rules, calibration, lambda _: None))


def test_queries_come_by_their_ids_and_rows_by_their_scores() -> None:
    rows = [row("q2", "a", 0.9), row("q1", "b", 0.1), row("q2", "c", 0.2), row("q1", "d", 0.8)]
    found = [(one.query.query_id, [example.doc_id for example in one.query.examples]) for one in choose(rows)]
    assert found == [("q1", ["d", "b"]), ("q2", ["a", "c"])]


def test_a_row_that_failed_is_counted_and_has_no_score() -> None:
    (chosen,) = choose([row("q", "a", None), row("q", "b", 0.9)])
    assert chosen.left_out == {Reason.ERROR: 1}
    assert (chosen.rows, chosen.scores["all"]) == (2, [0.9])


def test_the_text_of_a_pair_is_taken_once_also_under_two_query_ids() -> None:
    rows = [
        text_row("q1", "lamp", "a", "A lamp.", 0.9),
        text_row("q2", "lamp", "b", "A lamp.", 0.1),
        text_row("q2", "lamp", "c", "A river.", 0.1),
        text_row("q3", "river", "a", "A lamp.", 0.1),
    ]
    found = {one.query.query_id: [example.doc_id for example in one.query.examples] for one in choose(rows)}
    assert found == {"q1": ["a"], "q2": ["c"], "q3": ["a"]}


def test_a_document_with_only_a_title_is_shown_as_the_model_read_it() -> None:
    untitled = text_row("q", "lamp", "b", "A lamp.", 0.8)
    (chosen,) = choose([untitled, untitled | {"doc_id": "a", "passage": None, "title": "Lamps", "score": 0.9}])
    assert [example.text for example in chosen.query.examples] == ["Lamps ", "A lamp."]
    assert [example.passage for example in chosen.query.examples] == ["", "A lamp."]


def test_targets_are_scores_or_the_judges_log_odds_which_are_finite() -> None:
    rows = [row("q", "a", 0.9), row("q", "b", 0.8, true_logprob=0.0, false_logprob=-np.inf)]
    query = choose(rows)[0].query
    assert [example.score for example in query.examples] == [0.9, 0.8]
    odds = [example.score for example in query.in_log_odds().examples]
    assert odds == [pytest.approx(np.log(9)), MOST_LOG_ODDS]


def test_thresholds_are_put_to_calibrated_scores() -> None:
    calibration = Calibration(lambda odds: 1 / (1 + np.exp(-(odds - 3))), lambda odds: odds - 3)
    (chosen,) = choose([row("q", "a", 0.9), row("q", "b", 0.99), row("q", "c", None)], calibration=calibration)
    assert [example.doc_id for example in chosen.query.positives] == ["b"]
    assert chosen.left_out == {Reason.CALLED_TRUE: 1, Reason.ERROR: 1}
    targets = choose([row("q", "b", 0.99)], calibration=calibration)[0].query.in_log_odds().examples
    assert targets[0].score == pytest.approx(np.log(99) - 3)


@pytest.mark.parametrize(
    ("value", "label"),
    [(True, True), (False, False), (None, None), ("true", True), (" False ", False), (2, True), (0, False)],
)
def test_a_kept_column_gives_labels(value: object, label: bool | None) -> None:
    assert given_by_column("human", 1)({"human": value}) is label


def test_a_value_that_says_neither_is_no_label() -> None:
    with pytest.raises(ValueError, match="maybe"):
        read_given("maybe", 1)


def test_grades_give_labels_from_a_relevance_on() -> None:
    given = given_by_grades({("q", "a"): 2, ("q", "b"): 1}, min_relevance=2)
    pairs: list[Mapping[str, str]] = [{"query_id": "q", "doc_id": name} for name in "abc"]
    assert [given(dict(pair)) for pair in pairs] == [True, False, None]


def test_counts_that_do_not_add_up_are_a_bug() -> None:
    totals = Totals()
    for chosen in choose([row("q1", "a", 0.9), row("q1", "b", None), row("q2", "c", 0.1)]):
        totals.add_query(chosen, "train", {})
    totals.check(3)
    assert totals.describe()["left_out"] == {"error": 1}
    with pytest.raises(RuntimeError, match="4 rows were judged, 3 read, 2 exported and 1 left out"):
        totals.check(4)


def test_a_graded_judgment_has_the_log_odds_of_its_score() -> None:
    rows = [row("q", "two", 0.75), {**row("q", "graded", 0.75), "true_logprob": None, "false_logprob": None}]
    rows += [
        {**row("q", "sure", 0.5), "score": 1.0, "true_logprob": None, "false_logprob": None},
        row("q", "failed", None),
    ]
    names = ("score", "true_logprob", "false_logprob")
    found = find_log_odds(pa.table({name: pa.array([each[name] for each in rows], pa.float64()) for name in names}))
    assert found[:3].tolist() == pytest.approx([np.log(3), np.log(3), MOST_LOG_ODDS])
    assert np.isnan(found[3])

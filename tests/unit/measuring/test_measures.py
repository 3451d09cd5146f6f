"""Measures against trec_eval's own test data and expected output, to the four digits that it prints."""

import math
from pathlib import Path

import pytest

from rank1_batch.collection.qrels import read_qrels
from rank1_batch.errors import SettingsError
from rank1_batch.jobs.evaluate.orders import read_ranking
from rank1_batch.measuring.measures import aggregate, check_measures, measure_order, parse_measures, share_unjudged
from tests.support.paths import DATA

TREC_EVAL = DATA / "trec_eval"
SCIFACT = DATA / "scifact"
NAMES = {
    "AP": "map", "AP@10": "map_cut_10", "AP@100": "map_cut_100", "Bpref": "bpref",
    "nDCG": "ndcg", "nDCG@10": "ndcg_cut_10", "nDCG@100": "ndcg_cut_100", "NumRel": "num_rel", "NumRet": "num_ret",
    "P@5": "P_5", "P@10": "P_10", "R@10": "recall_10", "R@100": "recall_100", "Rprec": "Rprec", "RR": "recip_rank",
    "SetP": "set_P", "SetR": "set_recall", "Success@5": "success_5",
}  # fmt: skip
"""A measure of ir-measures, and its name in trec_eval's output."""
ONE = {"q": {"a": 1, "b": 0, "c": 2}}


def read_expected(name: str) -> dict[tuple[str, str], str]:
    """What trec_eval printed, by measure and query."""
    lines = (line.split() for line in (TREC_EVAL / name).read_text().splitlines())
    return {(measure, query): value for measure, query, value in lines}


@pytest.mark.parametrize(("run", "expected"), [("results.test", "out.test.aq"), ("results.trunc", "out.test.aqc")])
@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_trec_eval_for_every_query_and_for_all(
    run: str, expected: str, name: str, tmp_path: Path
) -> None:
    """With `results.trunc` one of three queries has no candidates: as with `trec_eval -c` it counts 0.

    IPrec is not among them: pytrec_eval has the recall levels of an older trec_eval (0.2096 for 0.2098).
    """
    printed = read_expected(expected)
    qrels = read_qrels("qrels", str(TREC_EVAL / "qrels.test"))
    lines = ((TREC_EVAL / run).read_text()).splitlines()  # some lines of results.trunc have words after the tag
    (tmp_path / "run").write_text("".join(f"{' '.join(line.split()[:6])}\n" for line in lines))
    order = read_ranking("run", str(tmp_path / "run")).order
    (measure,) = parse_measures([name])
    values = measure_order(order, qrels, [measure])[name]
    assert values.keys() == {"301", "302", "303"}
    for query, value in {**values, "all": aggregate(measure, values)}.items():
        assert math.isclose(value, float(printed[NAMES[name], query]), abs_tol=5.1e-5), query


def test_a_real_first_stage_has_its_known_values() -> None:
    """BM25 of SciFact; figures of the project that made it, from all 300 queries."""
    measures = parse_measures(["nDCG@10", "AP@100", "RR@10", "P@10", "R@100"])
    qrels = read_qrels("qrels", str(SCIFACT / "qrels.tsv"))
    values = measure_order(read_ranking("run", str(SCIFACT / "bm25.trec.gz")).order, qrels, measures)
    found = [round(aggregate(measure, values[str(measure)]), 4) for measure in measures]
    assert found == [0.6863, 0.6439, 0.6492, 0.0907, 0.9127]


@pytest.mark.parametrize("name", ["nDCG@10", "AP", "RR", "RR@10", "P@1", "Judged@1", "Compat(p=0.8)"])
def test_every_implementation_sees_the_order_that_is_given(name: str) -> None:
    """Those behind ir-measures sort scores themselves, and break ties in different ways: here are none."""
    check_order_is_seen(name)


@pytest.mark.skipif(bool(check_measures(["ERR@10"])), reason="gdeval, which computes it, needs perl")
def test_an_implementation_that_wants_numbers_for_ids_gets_them() -> None:
    check_order_is_seen("ERR@10")


def check_order_is_seen(name: str) -> None:
    measures = parse_measures([name])
    grades = {"a query": {"b b": 1}}
    best, worst = (
        measure_order({"a query": order}, grades, measures)[name]["a query"]
        for order in (["b b", "a", "c"], ["a", "c", "b b"])
    )
    assert best > worst


def test_the_grades_of_a_query_without_candidates_are_counted() -> None:
    """`trec_eval -c -q -m num_rel -m num_q` of version 10.0-rc3 (@f425365) on its own data: query 302 has 77."""
    qrels = read_qrels("qrels", str(TREC_EVAL / "qrels.test"))
    order: dict[str, list[str]] = {query: [] for query in qrels if query != "302"}
    measures = parse_measures(["NumRel", "NumQ"])
    values = measure_order(order, qrels, measures)
    assert values["NumRel"] == {"301": 474, "302": 77, "303": 10}
    assert [aggregate(measure, values[str(measure)]) for measure in measures] == [561, 3]


def test_a_query_without_candidates_counts_nothing_and_one_without_grades_is_not_there() -> None:
    values = measure_order({"x": ["a"], "q": []}, ONE, parse_measures(["nDCG@10", "RR@10", "Judged@10"]))
    assert values == {"nDCG@10": {"q": 0.0}, "RR@10": {"q": 0.0}, "Judged@10": {"q": 0.0}}


def test_the_share_of_unjudged_is_that_of_all_candidates_in_the_first_places() -> None:
    order = {"q": ["a", "x", "b", "y"], "r": ["z"], "no grades": ["a"]}
    qrels = {**ONE, "r": {"a": 1}, "no candidates": {"a": 1}}
    assert share_unjudged(order, qrels) == 3 / 5
    assert share_unjudged(order, qrels, depth=1) == 1 / 2
    assert share_unjudged({}, qrels) is None


def test_all_names_that_are_no_measures_are_told() -> None:
    names = ["nDCG@10", "nDCG10", "P", "AP@x", "alpha nDCG", "P@10("]
    problems = check_measures(names)
    assert [problem.split("'")[1] for problem in problems] == names[1:]
    assert "cutoff is not given" in problems[1]
    with pytest.raises(SettingsError) as caught:
        parse_measures(names)
    assert caught.value.problems == problems


def test_a_measure_that_is_named_twice_is_measured_once() -> None:
    assert [str(measure) for measure in parse_measures(["AP", "MAP", "P@5", "AP"])] == ["AP", "P@5"]

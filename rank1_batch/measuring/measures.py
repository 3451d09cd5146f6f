"""Measures an order by people's grades, query by query, with ir-measures.

Knows nothing about files. An order holds the doc_ids of each query, best first.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ir_measures

from rank1_batch.errors import SettingsError

Order = Mapping[str, Sequence[str]]
"""The doc_ids of each query, best first, without repeats."""

Qrels = Mapping[str, Mapping[str, int]]
"""The relevance of each graded document, by query."""

Values = dict[str, dict[str, float]]
"""A value for each query, by the name of the measure."""

TOP = 10


def check_measures(names: Sequence[str]) -> list[str]:
    """What is wrong with the names of measures, one sentence each. Empty if ir-measures can compute all of them."""
    return [problem for name in names if (problem := _check_measure(name))]


def parse_measures(names: Sequence[str]) -> list[Any]:
    """The measures of ir-measures with these names, each once. Raises SettingsError that lists all unknown names."""
    problems = check_measures(names)
    if problems:
        raise SettingsError(problems)
    return list(dict.fromkeys(ir_measures.parse_measure(name) for name in names))


def measure_order(order: Order, qrels: Qrels, measures: Sequence[Any]) -> Values:
    """The value of each measure for every query of `qrels`. A query that the order does not have gets 0.

    ir-measures gets places instead of scores, because its libraries break ties in different ways.
    It gets numbers instead of ids, because some of its libraries write files that allow no blanks in
    ids, or only numbers. It knows nothing of a query without candidates, so NumRel and NumQ come from the
    grades, as with `trec_eval -c`.
    """
    run, grades = {}, {}
    queries = {str(number): query for number, query in enumerate(qrels)}
    for number, query in queries.items():
        candidates = order.get(query, ())
        doc_ids = {doc_id: str(place) for place, doc_id in enumerate(dict.fromkeys([*candidates, *qrels[query]]))}
        grades[number] = {doc_ids[doc_id]: grade for doc_id, grade in qrels[query].items()}
        if candidates:
            run[number] = {doc_ids[doc_id]: -float(place) for place, doc_id in enumerate(candidates, 1)}
    values: Values = {str(measure): {} for measure in measures}
    for metric in ir_measures.iter_calc(measures, grades, run):
        values[str(metric.measure)][queries[metric.query_id]] = float(metric.value)
    for measure in measures:
        if measure.NAME in COUNTED:
            values[str(measure)] = {query: COUNTED[measure.NAME](measure, grades) for query, grades in qrels.items()}
    return values


def _count_relevant(measure: Any, grades: Mapping[str, int]) -> float:
    return float(sum(grade >= measure["rel"] for grade in grades.values()))


COUNTED: Mapping[str, Callable[[Any, Mapping[str, int]], float]] = {
    "NumRel": _count_relevant,
    "NumQ": lambda _measure, _grades: 1.0,
}
"""Measures that depend on a query's grades alone."""


def aggregate(measure: Any, values: Mapping[str, float]) -> float:
    """One number for all queries: the mean, or the sum for measures that count."""
    total = measure.aggregator()
    for value in values.values():
        total.add(value)
    return float(total.result())


def share_unjudged(order: Order, qrels: Qrels, depth: int = TOP) -> float | None:
    """The share of candidates in the first `depth` places that nobody graded. None if there are no candidates."""
    top = [doc_id in grades for query, grades in qrels.items() for doc_id in order.get(query, ())[:depth]]
    return 1 - sum(top) / len(top) if top else None


def _check_measure(name: str) -> str | None:
    try:
        measure = ir_measures.parse_measure(name)
        supported = ir_measures.DefaultPipeline.supports(measure)
    except (NameError, ValueError, TypeError, AssertionError) as error:  # what its parser and its checks raise
        # ir-measures shows a missing parameter as a bare object.
        reason = re.sub(r"=<object object at \w+>", " is not given", str(error))
        return f"measures: {name!r} is unknown to ir-measures ({reason}); examples: nDCG@10, AP, RR@10, AP(rel=2)"
    return None if supported else f"measures: {name!r} {_what_is_missing(measure)}"


def _what_is_missing(measure: Any) -> str:
    """What must be installed to compute a measure."""
    able = [one for one in ir_measures.DefaultPipeline.providers if one.supports(measure)]
    if not able:
        return "cannot be computed by any package that ir-measures knows"
    hints = [one.install_instructions() or f"install {one.NAME}" for one in able]
    return f"needs {able[0].NAME}, which is not available here: {' or '.join(hints)}"

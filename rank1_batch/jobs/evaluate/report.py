"""Shows an evaluation: tables of at most 80 columns for people; JSON and one row for each query for machines."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
from rich.markup import escape
from rich.table import Table

from rank1_batch.columns import QUERY_ID
from rank1_batch.jobs.evaluate.instructions import InstructionScore
from rank1_batch.measuring.agreement import Agreement
from rank1_batch.measuring.comparison import Comparison, subtract
from rank1_batch.measuring.measures import TOP, Values

TEST = "two-sided paired t-test over queries"

QUERIES_TOLD = 3

CORRECTION = "Holm's correction, over the measures that have a p"

SMALLEST_P = 1e-4
"""A smaller p-value is shown as `<.0001`."""


class Queries(NamedTuple):
    """How many queries there were. `missing`: grades but no candidates. `without_grades`: candidates but no grades."""

    measured: int
    missing: int
    without_grades: int
    missing_count_as_zero: bool


class Evaluation(NamedTuple):
    """All results. `ours` and `first` have a value for each measured query."""

    comparisons: Mapping[str, Comparison]
    ours: Values
    first: Values | None
    queries: Queries
    unjudged_in_top: float | None
    duplicates: int
    agreement: Agreement | None
    relevance_threshold: int
    instructions: InstructionScore | None
    grouped: tuple[int, str] | None = None
    """The number of groups of queries, and how their values became one. `ours` and `first` then have groups."""


def build_json(found: Evaluation) -> dict[str, Any]:
    """The content of `evaluation.json`."""
    agreement = found.agreement
    shares = {name: getattr(agreement, name) for name in ("precision", "recall", "kappa")} if agreement else {}
    return {
        "measures": {name: one._asdict() for name, one in found.comparisons.items()},
        "significance_test": TEST,
        "correction": CORRECTION,
        "queries": found.queries._asdict(),
        "groups": {"count": found.grouped[0], "aggregate": found.grouped[1]} if found.grouped else None,
        f"unjudged_share_of_top_{TOP}": found.unjudged_in_top,
        "duplicate_candidates": found.duplicates,
        "labels": {"relevance_threshold": found.relevance_threshold, **agreement._asdict(), **shares}
        if agreement
        else None,
        "instructions": found.instructions._asdict() if found.instructions else None,
    }


def build_per_query(found: Evaluation) -> pa.Table:
    """A row for each measure and query: value, first stage's value, difference. The last two are null without one."""
    rows: dict[str, list[Any]] = {QUERY_ID: [], "measure": [], "value": [], "first_stage": [], "difference": []}
    for measure, values in found.ours.items():
        first = found.first[measure] if found.first else {}
        differences = subtract(values, first) if found.first else {}
        for query in sorted(values):
            row = (query, measure, values[query], first.get(query), differences.get(query))
            for column, value in zip(rows.values(), row, strict=True):
                column.append(value)
    numbers = dict.fromkeys(("value", "first_stage", "difference"), pa.float64())
    return pa.table(rows, schema=pa.schema({QUERY_ID: pa.string(), "measure": pa.string(), **numbers}))


def build_table(found: Evaluation) -> Table:
    """The table of measures. If there is a first stage, its values stand beside ours."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    names = ("first stage", "this", "difference", "p", "Holm", "gained", "lost") if found.first else ("value",)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for measure, one in found.comparisons.items():
        table.add_row(f"[bold]{escape(measure)}[/]", *(_cells(one) if found.first else [f"{one.value:.4f}"]))
    return table


def find_warning(found: Evaluation) -> str | None:
    """What must be read before the table: that most graded queries have no candidates."""
    queries = found.queries
    graded = queries.measured if queries.missing_count_as_zero else queries.measured + queries.missing
    if 2 * queries.missing <= graded:
        return None
    told = "They count as 0." if queries.missing_count_as_zero else "They are left out."
    hint = " If this is a sample, use missing_queries=leave_out." if queries.missing_count_as_zero else ""
    return f"{queries.missing} of {graded} graded queries have no candidates. {told}{hint}"


def build_lines(found: Evaluation) -> Iterator[tuple[str, str]]:
    """Names and values for the lines below the table."""
    queries = found.queries
    missing = "counted as 0" if queries.missing_count_as_zero else "left out"
    told = f"{queries.measured} measured; {queries.missing} without candidates ({missing})"
    yield "queries", f"{told}; {queries.without_grades} without grades"
    if found.grouped:
        yield "groups", f"{found.grouped[0]} groups of queries ({found.grouped[1]}); all figures are over groups"
    if found.first:
        yield "p", f"{TEST}; - if there is none"
        yield "Holm", f"p with {CORRECTION}"
        yield from _gains(found)
    if found.unjudged_in_top is not None:
        yield "unjudged", f"{found.unjudged_in_top:.1%} of the top {TOP}"
    if found.duplicates:
        yield "duplicates", f"{found.duplicates} candidates are repeated; their best place counts"
    if found.agreement:
        yield from _agreement_lines(found.agreement, found.relevance_threshold)
    if found.instructions:
        yield "p-MRR", _instruction_line(found.instructions)


def _cells(one: Comparison) -> list[str]:
    return [
        f"{one.first_stage:.4f}",
        f"{one.value:.4f}",
        f"{one.difference:+.4f}",
        _show_p(one.p_value),
        _show_p(one.p_holm),
        str(one.gained),
        str(one.lost),
    ]


def _show_p(p_value: float | None) -> str:
    return "-" if p_value is None else "<.0001" if p_value < SMALLEST_P else f"{p_value:.4f}"


def _gains(found: Evaluation) -> Iterator[tuple[str, str]]:
    """The queries that gained and lost the most, by the first measure."""
    measure = next(iter(found.ours))
    differences = subtract(found.ours[measure], found.first[measure]) if found.first else {}
    ordered = sorted(differences.items(), key=lambda item: (item[1], item[0]))
    lost = [item for item in ordered if item[1] < 0][:QUERIES_TOLD]
    gained = [item for item in reversed(ordered) if item[1] > 0][:QUERIES_TOLD]
    for name, items in (("gained most", gained), ("lost most", lost)):
        if items:
            yield name, f"{', '.join(f'{query} {value:+.3f}' for query, value in items)} ({measure})"


def _agreement_lines(agreement: Agreement, threshold: int) -> Iterator[tuple[str, str]]:
    shares = (("precision", agreement.precision), ("recall", agreement.recall), ("kappa", agreement.kappa))
    told = ", ".join(f"{name} {'-' if share is None else f'{share:.3f}'}" for name, share in shares)
    yield "labels", f"{told} (relevant: grade >= {threshold})"
    yield (
        "",
        (
            f"true: {agreement.both} relevant, {agreement.label_only} not; "
            f"false: {agreement.relevance_only} relevant, {agreement.neither} not"
        ),
    )
    if agreement.one_sided:
        yield "", "all grades are on one side: they show no precision and no kappa"
    yield "", f"left out: {agreement.unjudged} without a grade, {agreement.unlabelled} without a label"


def _instruction_line(score: InstructionScore) -> str:
    left_out = f"; {score.missing} queries left out" if score.missing else ""
    return f"{100 * score.p_mrr:+.2f} over {score.queries} queries, {score.documents} documents changed{left_out}"

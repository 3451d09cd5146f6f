from pathlib import Path

import pyarrow as pa
import pytest

from rank1_batch.errors import ErrorRateError
from rank1_batch.jobs.rerank.failures import check_error_rate, describe_failures
from rank1_batch.output.commits import commit_unit
from rank1_batch.output.counts import Counts
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def commit(store: Store, name: str, errors: list[str | None]) -> Unit:
    count = len(errors)
    unit = Unit(name * 16, f"{name}.parquet", "etag", 0, count, count)
    ids = {"query_id": [f"q{n}" for n in range(count)], "doc_id": [f"{name}{n}" for n in range(count)]}
    table = pa.table({**ids, "error": pa.array(errors, pa.string())})
    commit_unit(store, unit, table, Counts(rows=count, errors=sum(error is not None for error in errors)))
    return unit


def test_the_commonest_reasons_come_first_with_an_example_each(store: Store) -> None:
    room = [f"the query leaves no room for a passage: {n} of 900 tokens" for n in (901, 950, 1000)]
    units = [
        commit(store, "a", ["the passage is empty", None, *room]),
        commit(store, "b", [None, None]),
        commit(store, "c", ["the passage is empty", "the doc_id is null", "the query is null", "the query is null"]),
    ]
    assert describe_failures(store, units) == [
        "3 rows: the query leaves no room for a passage: 901 of 900 tokens (for example q2/a2)",
        "2 rows: the passage is empty (for example q0/a0)",
        "2 rows: the query is null (for example q2/c2)",
    ]


@pytest.mark.parametrize(
    ("rows", "errors", "stops"),
    [
        (999, 500, False),  # too early to say, and 1 % of 100,000 rows may fail
        (1000, 100, False),
        (1000, 101, True),  # ten times as many as allowed
        (50_000, 1000, False),
        (50_000, 1001, True),  # more than the whole job may have
    ],
)
def test_a_job_stops_when_more_rows_have_failed_than_it_may_have(
    store: Store, rows: int, errors: int, *, stops: bool
) -> None:
    units = [commit(store, "a", ["the passage is empty"])]
    if not stops:
        check_error_rate(store, units, 100_000, Counts(rows=rows, errors=errors), 0.01)
        return
    with pytest.raises(ErrorRateError, match=r"1 rows: the passage is empty \(for example q0/a0\)"):
        check_error_rate(store, units, 100_000, Counts(rows=rows, errors=errors), 0.01)


def test_with_a_limit_of_one_no_job_stops(store: Store) -> None:
    check_error_rate(store, [], 0, Counts(), 1.0)
    check_error_rate(store, [], 2000, Counts(rows=2000, errors=2000), 1.0)

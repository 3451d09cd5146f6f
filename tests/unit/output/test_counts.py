import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.output.counts import Counts, add_counts, read_counts
from rank1_batch.storage.parquet import to_parquet
from rank1_batch.storage.store import Store, open_store

TABLE = pa.table({"score": [0.1, 0.2, 0.3], "trace": ["a", "b", "c"]})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "output"))


def test_what_an_earlier_version_did_not_count_is_none(store: Store) -> None:
    """Units committed before `saturated` and `stray` were counted are read, and add up, as before."""
    table = TABLE.replace_schema_metadata({"rank1_batch": '{"rows": 3, "errors": 1, "trace_tokens": 99}'})
    assert read_counts(pq.read_metadata(io.BytesIO(to_parquet(table)))) == Counts(rows=3, errors=1, trace_tokens=99)


counts = st.builds(Counts, *[st.integers(0, 1000)] * len(Counts._fields))


@given(counts, counts, counts)
def test_counts_add_up_in_any_order(a: Counts, b: Counts, c: Counts) -> None:
    assert add_counts(add_counts(a, b), c) == add_counts(c, add_counts(b, a))
    assert add_counts(a, Counts()) == a

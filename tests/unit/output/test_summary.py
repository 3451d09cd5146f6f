import json
from pathlib import Path

import pytest

from rank1_batch.errors import BadFileError
from rank1_batch.output.counts import Counts
from rank1_batch.output.layout import SUMMARY_PATH
from rank1_batch.output.summary import Gate, RunTotals, Summary, read_summary, write_summary
from rank1_batch.storage.store import Store, open_store, read_bytes, write_bytes

SUMMARY = Summary(
    counts=Counts(rows=3, closed=1, complete=2, trace_tokens=99),
    closed_share=0.3333,
    queries=2,
    bad_files=["a.parquet: no Parquet file"],
    gates=[Gate("closed", 0.3333, 0.03, passed=False, severity="warn")],
    this_run=RunTotals(rows=3, units=1, seconds={"plan": 0.1}, rows_per_s=1.5),
    versions={"ray": "2"},
    first_stages=[{"run": [{"name": "bm25.trec", "sha256": "0a"}], "depth": None}],
    prompt={"id": "scifact", "version": 1},
    judged_with={"model": "none", "revision": None, "engine": "scripted", "policy": "full"},
    dry_run=True,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def test_a_summary_is_read_back_as_it_was_written(store: Store) -> None:
    assert read_summary(store) is None
    write_summary(store, SUMMARY)
    assert read_summary(store) == SUMMARY


def test_counts_stand_among_the_other_keys_of_the_file(store: Store) -> None:
    write_summary(store, SUMMARY)
    written = json.loads(read_bytes(store, SUMMARY_PATH) or b"")
    assert (written["rows"], written["closed"], written["queries"]) == (3, 1, 2)
    assert written["this_run"]["seconds"] == {"plan": 0.1}
    assert next(iter(written.items())) == ("dry_run", True)


def test_what_an_earlier_version_did_not_write_has_a_default(store: Store) -> None:
    write_bytes(store, SUMMARY_PATH, b'{"rows": 3, "of_a_later_version": 1}')
    assert read_summary(store) == Summary(Counts(rows=3))


def test_a_damaged_summary_is_named(store: Store) -> None:
    for data in (b"", b'{"rows": 3', b'{"rows": "three"}', b"[]"):
        write_bytes(store, SUMMARY_PATH, data)
        with pytest.raises(BadFileError, match=f"{SUMMARY_PATH} is damaged"):
            read_summary(store)

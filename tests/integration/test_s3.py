"""What the storage promises, on a real S3 server."""

from concurrent.futures import ThreadPoolExecutor

from rank1_batch.storage.store import (
    create_bytes,
    list_files,
    open_store,
    read_bytes,
    replace_bytes,
    stat_file,
    write_bytes,
)


def test_of_many_who_create_an_object_one_wins(bucket: str) -> None:
    store = open_store(f"{bucket}/racing")
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda number: create_bytes(store, "unit", b"%d" % number), range(32)))
    assert won.count(True) == 1
    assert read_bytes(store, "unit") == b"%d" % won.index(True)
    assert create_bytes(store, "unit", b"late") is False


def test_what_another_process_put_is_seen_at_once(bucket: str) -> None:
    ours, theirs = open_store(bucket), open_store(bucket)
    assert list_files(ours, "judgments") == []
    write_bytes(theirs, "judgments/a.parquet", b"a")
    assert [file.path for file in list_files(ours, "judgments")] == ["judgments/a.parquet"]
    write_bytes(theirs, "judgments/a.parquet", b"b")
    assert stat_file(ours, "judgments/a.parquet") != stat_file(ours, "judgments/b.parquet")
    assert read_bytes(ours, "judgments/b.parquet") is None


def test_an_object_is_replaced_only_where_it_is_still_the_one_that_was_seen(bucket: str) -> None:
    store = open_store(f"{bucket}/replaced")
    assert not replace_bytes(store, "a", b"old", "0" * 32)
    write_bytes(store, "a", b"first")
    seen = stat_file(store, "a")
    assert seen is not None
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: replace_bytes(store, "a", b"%d" % number, seen.identity), range(16)))
    assert won.count(True) == 1
    assert read_bytes(store, "a") == b"%d" % won.index(True)
    assert not replace_bytes(store, "a", b"late", seen.identity)

"""What the storage promises, on a real S3 server."""

from concurrent.futures import ThreadPoolExecutor

from rank1_batch.storage.store import create_bytes, list_files, open_store, read_bytes, stat_file, write_bytes


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

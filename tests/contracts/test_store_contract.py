"""What every store promises, on disk, on two S3 servers and an emulator of Google's storage."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rank1_batch.errors import AccessError
from rank1_batch.storage.store import (
    Store,
    create_bytes,
    delete_file,
    find_files,
    list_files,
    open_store,
    read_bytes,
    read_ranges,
    replace_bytes,
    stat_file,
    write_bytes,
    write_file,
)
from tests.support.stores import Place, run_moto

RACERS = 16


def test_a_file_is_what_was_put_last(store: Store) -> None:
    for content in (b"first", b"", b"second" * 1000):
        write_bytes(store, "folder/x", content)
        assert read_bytes(store, "folder/x") == content
        found = stat_file(store, "folder/x")
        assert found
        assert found.size_bytes == len(content)


def test_a_copy_of_a_file_takes_the_place_of_an_older_one(store: Store, tmp_path: Path) -> None:
    for content in (b"older" * 50_000, b"new"):
        (tmp_path / "source").write_bytes(content)
        write_file(store, "folder/x", tmp_path / "source")
        assert read_bytes(store, "folder/x") == content


def test_what_is_not_there_reads_as_none(store: Store) -> None:
    write_bytes(store, "other", b"")
    assert read_bytes(store, "folder/x") is None
    assert stat_file(store, "folder/x") is None
    assert list_files(store, "folder") == []
    delete_file(store, "folder/x")


def test_files_are_listed_by_path_with_all_that_is_known_of_each(store: Store) -> None:
    for path, size in (("b/2", 2), ("b/c/3", 3), ("a", 1), ("bb", 4)):
        write_bytes(store, path, b"x" * size)
    assert [(file.path, file.size_bytes) for file in list_files(store)] == [
        ("a", 1), ("b/2", 2), ("b/c/3", 3), ("bb", 4),
    ]  # fmt: skip
    assert [file.path for file in list_files(store, "b")] == ["b/2", "b/c/3"]
    assert list_files(store, "b")[0] == stat_file(store, "b/2")
    found, files = find_files(f"{store.url}/b/*")
    assert [file.path for file in files] == ["2"]
    assert read_bytes(found, "2") == b"xx"


def test_what_another_process_put_is_seen_at_once(store: Store) -> None:
    other = open_store(store.url)
    assert list_files(store, "judgments") == []
    write_bytes(other, "judgments/a", b"a")
    assert [file.path for file in list_files(store, "judgments")] == ["judgments/a"]
    delete_file(other, "judgments/a")
    assert list_files(store, "judgments") == []
    assert read_bytes(store, "judgments/a") is None


def test_the_identity_of_a_file_changes_with_its_content(store: Store) -> None:
    write_bytes(store, "x", b"one")
    first = stat_file(store, "x")
    write_bytes(store, "x", b"three")
    second = stat_file(store, "x")
    assert first
    assert second
    assert first.identity != second.identity


def test_ranges_are_those_bytes_and_what_failed_is_an_exception_in_its_place(store: Store) -> None:
    write_bytes(store, "x", b"0123456789")
    first, missing, second = read_ranges(store, [("x", 2, 5), ("missing", 0, 3), ("x", 8, 10)])
    assert (first, second) == (b"234", b"89")
    assert isinstance(missing, FileNotFoundError)


def test_of_many_who_create_a_file_one_wins_and_the_others_know(store: Store) -> None:
    with ThreadPoolExecutor(RACERS) as pool:
        won = list(pool.map(lambda number: create_bytes(store, "unit", b"%d" % number), range(2 * RACERS)))
    assert won.count(True) == 1
    assert read_bytes(store, "unit") == b"%d" % won.index(True)
    assert create_bytes(store, "unit", b"late") is False


def test_a_file_that_was_deleted_may_be_created_again(store: Store) -> None:
    """Also where the store keeps the old version, as the lease of an output is."""
    for content in (b"first", b"second"):
        assert create_bytes(store, "lease", content)
        assert read_bytes(store, "lease") == content
        delete_file(store, "lease")


def test_a_file_is_replaced_only_where_it_is_still_the_one_that_was_seen(store: Store) -> None:
    assert not replace_bytes(store, "x", b"new", "0" * 32)
    write_bytes(store, "x", b"first")
    seen = stat_file(store, "x")
    assert seen
    assert replace_bytes(store, "x", b"second one", seen.identity)
    assert not replace_bytes(store, "x", b"third", seen.identity)
    assert read_bytes(store, "x") == b"second one"


def test_of_many_who_replace_a_file_one_wins_where_the_store_compares_and_puts_in_one_step(
    store: Store, place: Place
) -> None:
    write_bytes(store, "x", b"first")
    seen = stat_file(store, "x")
    assert seen
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: replace_bytes(store, "x", b"%d" % number, seen.identity), range(RACERS)))
    assert won.count(True) == 1 or (won.count(True) and not place.replaces_at_once)
    assert read_bytes(store, "x") in [b"%d" % number for number, done in enumerate(won) if done]


def test_a_place_that_is_not_there_is_named(place: Place) -> None:
    with pytest.raises(AccessError, match=f"{place.missing_url}: there is no such file, folder or bucket"):
        find_files(place.missing_url)


def test_a_condition_holds_for_a_large_file_too() -> None:
    """s3fs puts files of 100 MiB and more in parts, and some servers then ignore the condition."""
    large = 101 * 2**20
    with run_moto() as place:
        store = open_store(place.url)
        assert create_bytes(store, "large", bytes(large))
        assert not create_bytes(store, "large", b"late")
        seen = stat_file(store, "large")
        assert seen
        assert seen.size_bytes == large
        assert "-" not in seen.identity, "S3 numbers the parts of an object in its tag"
        assert replace_bytes(store, "large", bytes(large + 1), seen.identity)
        assert not replace_bytes(store, "large", b"late", seen.identity)

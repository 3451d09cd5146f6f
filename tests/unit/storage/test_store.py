import errno
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import stamina
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from s3fs import S3FileSystem

from rank1_batch.errors import AccessError, SettingsError, StorageError
from rank1_batch.storage import retries
from rank1_batch.storage.store import (
    Store,
    _identity,
    create_bytes,
    delete_file,
    find_files,
    is_identified,
    list_files,
    open_store,
    read_bytes,
    read_ranges,
    replace_bytes,
    stat_file,
    write_bytes,
    write_file,
)

RACERS = 16


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def race(call: Callable[[int], object]) -> list[object]:
    """The call from many threads that start together."""
    barrier = threading.Barrier(RACERS)

    def run(number: int) -> object:
        barrier.wait(10)
        return call(number)

    with ThreadPoolExecutor(RACERS) as pool:
        return list(pool.map(run, range(RACERS)))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", ["file", "a/folder/file"])
def test_the_first_of_many_callers_creates_a_file_and_the_others_know_they_did_not(
    store: Store, tmp_path: Path, path: str
) -> None:
    won = race(lambda number: create_bytes(store, path, bytes([number]) * 10_000))
    assert sorted(won, key=bool) == [False] * (RACERS - 1) + [True]
    assert read_bytes(store, path) == bytes([won.index(True)]) * 10_000
    assert names(tmp_path) == [path]


def test_a_file_that_is_there_is_not_touched_by_creating_it(store: Store, tmp_path: Path) -> None:
    assert create_bytes(store, "x", b"first")
    before = stat_file(store, "x")
    assert not create_bytes(store, "x", b"second")
    assert read_bytes(store, "x") == b"first"
    assert stat_file(store, "x") == before
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_is_created_where_the_file_system_has_no_hard_links(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As on gcsfuse and some NFS; this machine has no such file system to mount."""

    def fail(source: object, target: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", fail)
    assert create_bytes(store, "folder/x", b"first")
    assert not create_bytes(store, "folder/x", b"second")
    assert read_bytes(store, "folder/x") == b"first"
    assert names(tmp_path) == ["folder/x"]


def test_a_disk_that_fails_at_the_link_is_not_taken_for_one_without_links(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: object, target: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(StorageError, match="Input/output error"):
        create_bytes(store, "x", b"first")


def test_of_many_writers_one_is_the_last_and_its_file_is_whole(store: Store, tmp_path: Path) -> None:
    race(lambda number: write_bytes(store, "folder/x", bytes([number]) * 50_000))
    data = read_bytes(store, "folder/x") or b""
    assert len(data) == 50_000
    assert len(set(data)) == 1
    assert names(tmp_path) == ["folder/x"]


def test_a_reader_never_sees_half_of_a_file_that_is_written_anew(store: Store) -> None:
    write_bytes(store, "x", b"0" * 100_000)

    def write_anew() -> None:
        for number in range(30):
            write_bytes(store, "x", bytes([number]) * 100_000)

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(write_anew)
        while not writing.done():
            data = read_bytes(store, "x") or b""
            assert (len(data), len(set(data))) == (100_000, 1)
    writing.result()


@pytest.mark.parametrize("url", ["{}/stored", "memory://write-file"])
def test_a_copy_of_a_file_takes_the_place_of_an_older_one(url: str, tmp_path: Path) -> None:
    store = open_store(url.format(tmp_path))
    source = tmp_path / "source"
    for content in (b"older" * 50_000, b"new"):
        source.write_bytes(content)
        write_file(store, "folder/x", source)
        assert read_bytes(store, "folder/x") == content
    assert [file.path for file in list_files(store)] == ["folder/x"]


@pytest.mark.parametrize("put", [write_bytes, create_bytes])
def test_files_have_the_permissions_that_files_of_this_user_usually_have(
    store: Store, tmp_path: Path, put: Callable[[Store, str, bytes], object]
) -> None:
    """Others of the team read a shared disk, too: a private temporary file must not set the rule."""
    old = os.umask(0o022)
    try:
        put(store, "ours", b"")
        (tmp_path / "usual").touch()
    finally:
        os.umask(old)
    assert oct((tmp_path / "ours").stat().st_mode) == oct((tmp_path / "usual").stat().st_mode)


def test_a_failed_write_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="folder"):
        write_bytes(store, "folder", b"a file cannot take a folder's place")
    assert names(tmp_path) == []


def test_a_local_place_has_an_absolute_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process, or a later command, opens it from another working directory."""
    monkeypatch.chdir(tmp_path)
    url = str(tmp_path / "judged")
    assert [open_store(path).url for path in ("judged", "./judged/", f"file://{url}", url)] == [url] * 4
    assert open_store("memory://judged/").url == "memory://judged"


def test_what_is_not_there_reads_as_none(store: Store) -> None:
    assert read_bytes(store, "no/such/file") is None
    assert stat_file(store, "no/such/file") is None
    assert list_files(store, "no/such/folder") == []
    delete_file(store, "no/such/file")


def test_files_are_listed_below_a_folder_by_path(store: Store) -> None:
    for path, size in (("b/2", 2), ("b/c/3", 3), ("a", 1), ("bb", 4)):
        write_bytes(store, path, b"x" * size)
    assert [(file.path, file.size_bytes) for file in list_files(store)] == [
        ("a", 1),
        ("b/2", 2),
        ("b/c/3", 3),
        ("bb", 4),
    ]
    assert [file.path for file in list_files(store, "b")] == ["b/2", "b/c/3"]
    assert list_files(store, "b")[0] == stat_file(store, "b/2")


def test_a_deleted_file_is_gone(store: Store) -> None:
    write_bytes(store, "x", b"1")
    delete_file(store, "x")
    assert list_files(store) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"blob_id": "a1", "last_commit": None}, {"blob_id": "b2", "last_commit": None}),  # hf://
        ({"ETag": '"a"'}, {"ETag": '"b"'}),
        (
            {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"},
            {"Last-Modified": "Tue, 02 Jan 2024 00:00:00 GMT"},
        ),  # http
        ({"Content-MD5": "a"}, {"Content-MD5": "b"}),
        ({"sha": "a"}, {"sha": "b"}),  # github://
        ({"last_modified": "2024-01-01"}, {"last_modified": "2024-01-02"}),
    ],
)
def test_what_a_store_has_tells_two_files_of_one_size_apart(one: dict[str, Any], other: dict[str, Any]) -> None:
    identities = [_identity({"name": "x", "size": 5, "type": "file", **info}) for info in (one, other)]
    assert identities[0] != identities[1]
    assert all(map(is_identified, identities))


def test_a_store_that_knows_the_size_alone_says_so() -> None:
    """As an HTTP server without any of these headers."""
    assert not is_identified(_identity({"name": "x", "size": 5, "type": "file"}))


def test_the_identity_of_a_file_changes_with_its_content_or_time(store: Store, tmp_path: Path) -> None:
    identities = []
    for content, time in ((b"one", 1.0), (b"three", 1.0), (b"three", 2.5)):
        write_bytes(store, "x", content)
        os.utime(tmp_path / "x", (time, time))
        info = stat_file(store, "x")
        identities.append(info and info.identity)
    assert len(set(identities)) == 3
    again = stat_file(store, "x")
    assert again is not None
    assert again.identity == identities[-1]


def test_ranges_are_those_bytes_and_what_failed_is_an_exception_in_its_place(store: Store) -> None:
    write_bytes(store, "x", b"0123456789")
    first, missing, second = read_ranges(store, [("x", 2, 5), ("missing", 0, 3), ("x", 8, 10)])
    assert (first, second) == (b"234", b"89")
    assert isinstance(missing, FileNotFoundError)


@pytest.mark.parametrize("form", ["{}", "{}/", "file://{}"])
def test_a_local_store_may_be_named_in_any_usual_way(tmp_path: Path, form: str) -> None:
    named = open_store(form.format(tmp_path))
    write_bytes(named, "x", b"1")
    assert (tmp_path / "x").read_bytes() == b"1"
    assert named.locate("x") == str(tmp_path / "x")


def test_relative_paths_and_the_home_folder_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_store("a b/c").root == str(tmp_path / "a b" / "c")
    assert open_store("~/c").root == str(tmp_path / "c")


def test_a_protocol_that_nothing_serves_is_an_error_of_the_settings() -> None:
    with pytest.raises(SettingsError, match="nosuch://bucket: cannot open nosuch:// paths"):
        open_store("nosuch://bucket")


def test_a_package_that_is_missing_is_named() -> None:
    with pytest.raises(SettingsError, match=r"a package for az:// paths is missing. Install adlfs") as raised:
        open_store("az://container/pairs")
    assert len(raised.value.problems) == 1


def test_who_has_no_credentials_is_told_where_they_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    S3FileSystem.clear_instance_cache()
    retries._counting_session.cache_clear()  # another test has found its credentials
    with pytest.raises(AccessError, match=r"s3://no-credentials/x: no credentials found .* Set AWS_ACCESS_KEY_ID"):
        read_bytes(open_store("s3://no-credentials"), "x")


@pytest.fixture
def shards(store: Store) -> Store:
    for path in ("a.parquet", "b.parquet", "notes.txt", "deep/c.parquet"):
        write_bytes(store, f"in put/{path}", b"x")
    return store


@pytest.mark.parametrize(
    ("name", "folder", "found"),
    [
        ("in put", "in put", ["a.parquet", "b.parquet", "deep/c.parquet", "notes.txt"]),
        ("in put/", "in put", ["a.parquet", "b.parquet", "deep/c.parquet", "notes.txt"]),
        ("in put/b.parquet", "in put", ["b.parquet"]),
        ("in put/*.parquet", "in put", ["a.parquet", "b.parquet"]),
        ("in put/**/*.parquet", "in put", ["a.parquet", "b.parquet", "deep/c.parquet"]),
        ("in put/[ab].parquet", "in put", ["a.parquet", "b.parquet"]),
        ("in*/deep/?.parquet", "", ["in put/deep/c.parquet"]),
        ("in put/*.csv", "in put", []),
    ],
)
def test_a_folder_a_file_or_a_glob_names_files_relative_to_their_folder(
    shards: Store, name: str, folder: str, found: list[str]
) -> None:
    root, files = find_files(f"{shards.root}/{name}")
    assert root.root == f"{shards.root}/{folder}".rstrip("/")
    assert [file.path for file in files] == found
    assert all(read_bytes(root, file.path) == b"x" for file in files)
    assert list(map(open_store(root.url).locate, found)) == list(map(root.locate, found))


def test_a_path_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing: there is no such file, folder or bucket"):
        find_files(str(tmp_path / "nothing"))


class FailingFileSystem(MemoryFileSystem):
    """Raises `error` for the first `failures` reads."""

    cachable = False

    def __init__(self, error: Exception, failures: int) -> None:
        super().__init__()
        self.error, self.failures, self.asked = error, failures, 0

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: object) -> bytes:
        self.asked += 1
        if self.asked <= self.failures:
            raise self.error
        return b"content"


def ask_failing(error: Exception, failures: int) -> tuple[FailingFileSystem, Callable[[], bytes | None]]:
    files = FailingFileSystem(error, failures)
    return files, lambda: read_bytes(Store(files, "/bucket", "memory://bucket"), "x")


@pytest.mark.parametrize(
    "error", [TimeoutError("slow"), ConnectionResetError("cut"), OSError("SlowDown: 503")], ids=repr
)
def test_a_transient_failure_is_asked_again(error: Exception) -> None:
    files, ask = ask_failing(error, failures=2)
    with stamina.set_testing(True, attempts=6):
        assert ask() == b"content"
    assert files.asked == 3


def test_a_store_that_never_answers_is_given_up_with_its_place_in_the_message() -> None:
    files, ask = ask_failing(ConnectionRefusedError("refused"), failures=100)
    with stamina.set_testing(True, attempts=6), pytest.raises(StorageError, match=r"memory://bucket/x.*refused"):
        ask()
    assert files.asked == 6


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermissionError("wrong key"), AccessError),
        (OSError(30, "Read-only file system"), AccessError),
        (OSError("disk is broken"), StorageError),
    ],
)
def test_a_failure_that_will_not_go_away_is_asked_once(error: Exception, kind: type[Exception]) -> None:
    files, ask = ask_failing(error, failures=100)
    with pytest.raises(kind, match=re.escape(str(error))) as raised:
        ask()
    assert "memory://bucket/x" in str(raised.value)
    assert files.asked == 1


def test_a_bug_is_not_taken_for_a_failing_store() -> None:
    _, ask = ask_failing(ZeroDivisionError("bug"), failures=1)
    with pytest.raises(ZeroDivisionError):
        ask()


def test_of_many_ranges_only_the_lost_ones_are_read_again() -> None:
    class LosingFileSystem(MemoryFileSystem):
        cachable = False
        asked: list[int]

        def cat_ranges(self, paths: list[str], starts: object, ends: object, **kwargs: object) -> list[object]:
            self.asked.append(len(paths))
            found = super().cat_ranges(paths, starts, ends, **kwargs)
            return [ConnectionResetError("cut"), *found[1:]] if len(self.asked) < 3 else found

    files = LosingFileSystem()
    files.asked = []
    store = Store(files, "/ranges", "memory://ranges")
    for name in "abc":
        write_bytes(store, name, name.encode() * 5)
    wanted = [("a", 0, 2), ("b", 1, 2), ("nothing", 0, 2), ("c", 0, 5)]
    with stamina.set_testing(True, attempts=6):
        first, second, missing, last = read_ranges(store, wanted)
    assert (first, second, last) == (b"aa", b"b", b"ccccc")
    assert isinstance(missing, FileNotFoundError)
    assert files.asked == [4, 1, 1]


@pytest.mark.parametrize("there", [None, b"another's"])
def test_who_created_a_file_knows_it_also_where_the_answer_was_lost(there: bytes | None) -> None:
    class AnswerLost(MemoryFileSystem):
        cachable = False
        lost = 1

        def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: object) -> None:
            super().pipe_file(path, value, mode=mode, **kwargs)
            self.lost -= 1
            if self.lost >= 0:
                raise ConnectionResetError("cut after the work was done")

    files = AnswerLost()
    store = Store(files, f"/created-{there is None}", "memory://created")
    if there is not None:
        files.store[f"{store.root}/x"] = MemoryFile(files, f"{store.root}/x", there)
    with stamina.set_testing(True, attempts=6):
        assert create_bytes(store, "x", b"mine") is (there is None)
    assert read_bytes(store, "x") == (there or b"mine")


def test_a_file_is_replaced_only_where_it_is_still_the_one_that_was_seen(store: Store, tmp_path: Path) -> None:
    assert not replace_bytes(store, "x", b"new", "5-1.0")
    write_bytes(store, "x", b"first")
    seen = stat_file(store, "x")
    assert seen is not None
    assert replace_bytes(store, "x", b"second one", seen.identity)
    assert not replace_bytes(store, "x", b"third", seen.identity)
    assert read_bytes(store, "x") == b"second one"
    assert names(tmp_path) == ["x"]


def test_a_local_path_is_absolute_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas run in folders of their own."""
    monkeypatch.chdir(tmp_path)
    assert open_store("judged/../out").url == str(tmp_path / "out")


def test_a_folder_may_have_brackets_in_its_name(tmp_path: Path) -> None:
    for folder in ("br[1]", "br1"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "pairs.parquet").write_bytes(b"x")
    store, files = find_files(str(tmp_path / "br[1]"))
    assert (store.root, [file.path for file in files]) == (str(tmp_path / "br[1]"), ["pairs.parquet"])

import io
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
import stamina
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.collection.lines import (
    COMPRESSIONS,
    MOST_LINES,
    BrokenLines,
    WrongFormatError,
    read_lines,
    read_records,
    strip_compression,
)
from rank1_batch.errors import BadFileError, SettingsError
from rank1_batch.storage.store import Store, open_store

END_KINDS = [("", None), *COMPRESSIONS.items(), (".GZ", "gzip")]


def compress(data: bytes, kind: str | None) -> bytes:
    if kind is None:
        return data
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, kind) as stream:
        stream.write(data)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(("end", "kind"), END_KINDS)
def test_lines_come_out_as_they_went_in_whatever_the_compression(tmp_path: Path, end: str, kind: str | None) -> None:
    data = b"first\n\nthird \xc3\xa9\r\nno end"
    (tmp_path / f"a.txt{end}").write_bytes(compress(data, kind))
    assert list(read_lines(open_store(str(tmp_path)), f"a.txt{end}")) == data.splitlines(keepends=True)


@pytest.mark.parametrize(("end", "kind"), END_KINDS[1:])
def test_a_compressed_file_may_have_several_parts(tmp_path: Path, end: str, kind: str) -> None:
    """`cat a.gz b.gz` is a gzip file; tools that write in parallel make such files."""
    (tmp_path / f"a{end}").write_bytes(compress(b"one\n", kind) + compress(b"two\n", kind))
    assert list(read_lines(open_store(str(tmp_path)), f"a{end}")) == [b"one\n", b"two\n"]


@pytest.mark.parametrize(("end", "kind"), END_KINDS[1:])
@pytest.mark.parametrize("damage", ["cut", "plain"])
def test_a_file_that_is_cut_short_or_not_compressed_is_named(tmp_path: Path, end: str, kind: str, damage: str) -> None:
    whole = compress(b"line\n" * 10_000, kind)
    (tmp_path / f"a{end}").write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"plain text\n" * 50)
    with pytest.raises(BadFileError, match=f"a{end}: "):
        list(read_lines(open_store(str(tmp_path)), f"a{end}"))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no such file"):
        list(read_lines(open_store(str(tmp_path)), "none"))


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n")), max_size=8))
def test_a_line_feed_alone_ends_a_line(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    """Python's text files and splitlines() would also end one at a carriage return or U+2028."""
    folder = tmp_path_factory.mktemp("lines")
    (folder / "a").write_bytes("".join(f"x{line}\n" for line in lines).encode())
    broken = BrokenLines()
    assert list(read_records(open_store(str(folder)), "a", str, broken)) == [f"x{line}\n" for line in lines]
    assert broken.count == 0


def test_broken_lines_are_told_with_file_and_number_and_do_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf1\n\ntwo\n3\n\xff\n")
    broken = BrokenLines()
    assert list(read_records(open_store(str(tmp_path)), "a.txt", int, broken)) == [1, 3]
    with pytest.raises(BadFileError) as error:
        broken.check()
    told = str(error.value).split("\n")
    assert [line.split("a.txt, ")[1].split(":")[0] for line in told] == ["line 3", "line 5"]
    assert "invalid start byte" in told[1]


def test_of_many_broken_lines_the_first_are_told_and_all_are_counted() -> None:
    broken = BrokenLines()
    for number in range(25):
        broken.add("a.txt", f"line {number}", "bad")
    with pytest.raises(BadFileError, match=r"line 9: bad\n… 25 broken lines in all$"):
        broken.check()


def test_a_file_of_another_kind_is_not_read_to_its_end() -> None:
    broken = BrokenLines()
    for number in range(MOST_LINES - 1):
        broken.add("a.txt", f"line {number}", "bad")
    with pytest.raises(BadFileError, match="stopped reading"):
        broken.add("a.txt", "line 1000", "bad")


def test_broken_lines_that_are_skipped_are_counted_however_many_they_are() -> None:
    broken = BrokenLines(skip=True)
    for number in range(3 * MOST_LINES):
        broken.add("a.txt", f"line {number}", "bad")
    broken.check()
    assert (broken.count, len(broken.listed)) == (3 * MOST_LINES, MOST_LINES)


def test_a_file_in_another_format_ends_the_reading_also_where_lines_are_skipped(tmp_path: Path) -> None:
    def refuse(line: str) -> str:
        raise WrongFormatError("no lines at all")

    (tmp_path / "a.txt").write_text("[\n" * 9)
    with pytest.raises(BadFileError, match=r"a\.txt: no lines at all$"):
        list(read_records(open_store(str(tmp_path)), "a.txt", refuse, BrokenLines(skip=True)))


def test_carriage_returns_as_line_ends_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"1\r2\r3\r")
    broken = BrokenLines()
    assert list(read_records(open_store(str(tmp_path)), "a.txt", int, broken)) == []
    assert "a carriage return stands inside the line, but lines must end in LF or CRLF" in broken.listed[0]


def test_nothing_broken_nothing_raised() -> None:
    BrokenLines().check()


def test_a_compressed_name_says_what_is_inside() -> None:
    assert [strip_compression(name) for name in ("a.tsv.gz", "a.tsv.zst", "a.tsv", "b/c.bz2", "A.TSV.GZ")] == [
        "a.tsv", "a.tsv", "a.tsv", "b/c", "A.TSV",
    ]  # fmt: skip


class FailingReads(MemoryFileSystem):
    """Every second read of a file fails, for want of an answer."""

    cachable = False
    store: ClassVar[dict[str, Any]] = {}

    def _open(self, path: str, mode: str = "rb", **kwargs: object) -> "FailingFile":
        return FailingFile(CONTENT)


class FailingFile(io.BytesIO):
    asked = 0

    def read(self, size: int | None = -1) -> bytes:
        self.asked += 1
        if self.asked % 2:
            raise TimeoutError("slow")
        return super().read(min(size or 0, 1000))


CONTENT = b"".join(b"line %d\n" % number for number in range(1000))


def test_a_read_that_gets_no_answer_is_repeated_from_where_it_was() -> None:
    store = Store(FailingReads(), "/bucket", "memory://bucket")
    with stamina.set_testing(True, attempts=6):
        assert list(read_lines(store, "a.txt")) == CONTENT.splitlines(keepends=True)

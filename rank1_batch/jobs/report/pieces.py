"""The files under data/: what the page loads when it is asked for. Each is a script of one call with packed JSON.

A page from disk may load scripts, but not read files. So a piece hands itself over: `rank1("rows-0", "H4sI…")`, JSON
in gzip in base64. Knows nothing about pages.
"""

import base64
import gzip
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from rank1_batch.jobs.report.figures import Shown
from rank1_batch.jobs.report.queries import ReportedQuery, ReportedRow

LIST_PIECES, ROW_PIECES, TEXT_PIECES, CHOSEN_PIECES = PIECES = ("queries", "rows", "texts", "chosen")
"""Queries, a line each; the rows of each query; their texts; or the texts of the examples alone."""

PIECE_BYTES = 2 * 1024 * 1024
"""A piece ends when its JSON has this size. A script of it has about a third."""

LIST_LETTERS = 300
"""Letters of a query's text in the list of queries; its own page has all of them."""

COMPRESSION = 6

Put = Callable[[str, bytes], None]
"""Takes a finished script with the name of its piece."""


class PieceSizes(NamedTuple):
    """How many files there are of a kind of pieces, and their bytes."""

    files: int = 0
    size_bytes: int = 0


class EntryPlace(NamedTuple):
    """Where an entry is: the number of its piece, and its place in it."""

    piece: int
    at: int


def encode_piece(name: str, content: bytes) -> bytes:
    """The script that hands JSON to the page. The same content gives the same bytes."""
    packed = base64.b64encode(gzip.compress(content, COMPRESSION, mtime=0))
    return b'rank1("' + name.encode() + b'","' + packed + b'")\n'


class Filler:
    """Fills the pieces of one kind with entries, and puts each when it is full."""

    def __init__(self, kind: str, put: Put) -> None:
        self._kind, self._put = kind, put
        self._entries: list[bytes] = []
        self._bytes = 0
        self.sizes = PieceSizes()

    def add(self, entry: Any) -> EntryPlace:
        """Take an entry. Returns its place."""
        encoded = msgspec.json.encode(entry)
        place = EntryPlace(self.sizes.files, len(self._entries))
        self._entries.append(encoded)
        self._bytes += len(encoded)
        if self._bytes >= PIECE_BYTES:
            self.flush()
        return place

    def flush(self) -> None:
        """Put the entries that are left."""
        if not self._entries:
            return
        name = f"{self._kind}-{self.sizes.files}"
        script = encode_piece(name, b"[" + b",".join(self._entries) + b"]")
        self._put(name, script)
        self.sizes = PieceSizes(self.sizes.files + 1, self.sizes.size_bytes + len(script))
        self._entries, self._bytes = [], 0


class Pieces:
    """All pieces of a report. Call `add` for each query in any order, and `finish` at the end."""

    def __init__(self, put: Put, *, with_texts: bool) -> None:
        self._with_texts = with_texts
        self._fillers = {kind: Filler(kind, put) for kind in PIECES}

    @property
    def sizes(self) -> dict[str, PieceSizes]:
        """What was put so far, by kind."""
        return {kind: filler.sizes for kind, filler in self._fillers.items()}

    def add(self, query: ReportedQuery, gain: float | None) -> None:
        """Put the query into pieces. `gain` is its difference by people's grades."""
        rows = self._fillers[ROW_PIECES].add([list_row(row) for row in query.rows])
        texts = None
        if self._with_texts:
            texts = self._fillers[TEXT_PIECES].add([query.text, [list_texts(row) for row in query.rows]])
        self._fillers[LIST_PIECES].add([*list_query(query, gain), rows, texts])

    def finish(self, examples: Iterable[Shown]) -> None:
        """Put what is left. If not all texts are copied, those of the examples are."""
        for one in () if self._with_texts else examples:
            self._fillers[CHOSEN_PIECES].add([one.query_id, one.row.doc_id, one.query_text, list_texts(one.row)])
        for filler in self._fillers.values():
            filler.flush()


def list_query(query: ReportedQuery, gain: float | None) -> list[Any]:
    """A query in the list: id, start of the text, place, rows, errors, rows called true, best and worst move, gain."""
    moves = [row.moved for row in query.rows if row.moved is not None and row.score is not None]
    text = None if query.text is None else query.text[:LIST_LETTERS]
    labels = [row.label for row in query.rows]
    ends = (max(moves, default=None), min(moves, default=None))
    errors = sum(row.error is not None for row in query.rows)
    return [query.query_id, text, query.place, len(query.rows), errors, labels.count(True), *ends, shorten(gain)]


def list_row(row: ReportedRow) -> Sequence[Any]:
    """What the lists show of a row."""
    return (
        row.doc_id, row.rank, row.was, shorten(row.score), row.label, row.finish, row.grade, row.trace_tokens,
        row.prompt_tokens, int(row.passage_truncated),
    )  # fmt: skip


def list_texts(row: ReportedRow) -> Sequence[Any]:
    """What a row's own page shows beside."""
    return (
        row.title, row.passage, row.trace, row.error, shorten(row.true_logprob), shorten(row.false_logprob),
        row.unit_id, row.row, row.candidate,
    )  # fmt: skip


def shorten(value: float | None) -> float | None:
    """A number with six significant digits: more are not shown."""
    return None if value is None else float(f"{value:.6g}")

"""Lines of JSONL and TSV files, taken apart: key, text and what may come with it. Reads no files."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from rank1_batch.schema import DOC_ID, FILE_NAMES, INSTRUCTION, PASSAGE, QUERY, QUERY_ID, TITLE
from rank1_batch.trec import split_tsv

Names = Mapping[str, tuple[str, ...]]
"""Our column → the names that a file can have for it, the preferred one first."""


class Row(NamedTuple):
    """A query with its instruction, or a passage with its title."""

    key: str
    text: str | None
    extra: str | None = None


class Kind(NamedTuple):
    """Which of our columns are a record's key, its text, and what may come with it."""

    key: str
    text: str
    extra: str | None = None


QUERIES = Kind(QUERY_ID, QUERY, INSTRUCTION)
PASSAGES = Kind(DOC_ID, PASSAGE, TITLE)
INSTRUCTIONS = Kind(QUERY_ID, INSTRUCTION)


def find_names(columns: Iterable[str | None], mapping: Mapping[str, str]) -> Names:
    """The names that a file can have for our columns. A name that the user gave to one column is no other's."""
    given = set(mapping.values())
    return {
        ours: (mapping[ours],) if ours in mapping else tuple(name for name in FILE_NAMES[ours] if name not in given)
        for ours in columns
        if ours is not None
    }


def build_json_parser(names: Names) -> Callable[[str], Row]:
    """A parser of one JSON object a line. It raises ValueError where the key or the text is not there.

    A key may be a whole number, which becomes text. Fields that nobody asked for are not looked at.
    """
    fields = [(ours, name) for ours in names for name in names[ours]]
    key = next(iter(names))
    record = msgspec.defstruct(
        "Record",
        [
            (f"field_{i}", (str | int if ours == key else str | None) | msgspec.UnsetType, msgspec.UNSET)
            for i, (ours, _) in enumerate(fields)
        ],
        rename={f"field_{i}": name for i, (_, name) in enumerate(fields)},
    )
    decoder = msgspec.json.Decoder(record)
    places = [[f"field_{i}" for i, (column, _) in enumerate(fields) if column == ours] for ours in names]

    def find(found: Any, place: list[str]) -> Any:
        values = (getattr(found, field) for field in place)
        return next((value for value in values if value is not msgspec.UNSET), msgspec.UNSET)

    def parse(line: str) -> Row:
        try:
            found = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from error
        return _row(names, [find(found, place) for place in places])

    return parse


class TsvParser:
    """A parser of lines split by tabs. A first line that names the key and the text says where columns stand.

    Without one a line has two fields, the key and the text.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._first = True
        self._header: list[str] = []

    def skip(self, line: str) -> bool:
        """Whether the line is blank or the header."""
        if not line.strip():
            return True
        first, self._first = self._first, False
        if first:
            fields = split_tsv(line)
            key, text, *_ = self._names.values()
            is_header = any(name in fields for name in key) and any(name in fields for name in text)
            self._header = fields if is_header else []
        return first and bool(self._header)

    def parse(self, line: str) -> Row:
        """Key, text and extra. Raises ValueError where the number of fields is not what it should be."""
        fields = split_tsv(line)
        if self._header:
            if len(fields) != len(self._header):
                raise ValueError(f"{len(fields)} fields split by tabs, but the first line has {len(self._header)}")
            found = dict(zip(self._header, fields, strict=True))
            row = [next((found[n] for n in names if n in found), msgspec.UNSET) for names in self._names.values()]
            return _row(self._names, row)
        key, text, *_ = self._names
        if len(fields) != len((key, text)):
            raise ValueError(
                f"{len(fields)} fields split by tabs, but without a first line of column names "
                f"there must be two ({key}, {text})"
            )
        return _row(self._names, fields)


def _row(names: Names, values: list[Any]) -> Row:
    """A row of what was found. Raises ValueError where there is no key or no text at all."""
    for (ours, given), value in zip(list(names.items())[:2], values, strict=False):
        if value is msgspec.UNSET:
            raise ValueError(f"no {ours} (a field {' or '.join(given)})")
    key, text, *more = (None if value is msgspec.UNSET else value for value in values)
    if key == "":
        raise ValueError(f"the {next(iter(names))} is empty")
    return Row(str(key), text, *more)

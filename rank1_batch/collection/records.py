"""Parses lines of JSONL and TSV files into key, text and an optional extra field. Reads no files."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from rank1_batch.collection.lines import WrongFormatError
from rank1_batch.collection.trec import split_tsv
from rank1_batch.columns import DOC_ID, FILE_NAMES, INSTRUCTION, PASSAGE, QUERY, QUERY_ID, TITLE

REQUIRED_COLUMNS = 2
"""The key and the text."""

Names = Mapping[str, tuple[str, ...]]
"""Our name of a column → the names that a file can use for it, the preferred one first."""


class Row(NamedTuple):
    """A query with its instruction, or a passage with its title."""

    key: str
    text: str | None
    extra: str | None = None


class Kind(NamedTuple):
    """Which of our columns are a record's key, its text, and its optional extra field."""

    key: str
    text: str
    extra: str | None = None


QUERIES = Kind(QUERY_ID, QUERY, INSTRUCTION)

PASSAGES = Kind(DOC_ID, PASSAGE, TITLE)

INSTRUCTIONS = Kind(QUERY_ID, INSTRUCTION)


def find_names(columns: Iterable[str | None], mapping: Mapping[str, str]) -> Names:
    """The names that a file can use for our columns. A name that the user mapped to one column serves no other."""
    given = set(mapping.values())
    return {
        ours: (mapping[ours],) if ours in mapping else tuple(name for name in FILE_NAMES[ours] if name not in given)
        for ours in columns
        if ours is not None
    }


class JsonParser:
    """A parser of lines with one JSON object each. It ignores fields that are not needed.

    The parser expects the field names of the first line. If a line lacks them, it looks for other known
    names there. A key can be a whole number, which becomes text.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._first = True
        self._build([given[0] for given in names.values()])

    def parse(self, line: str) -> Row:
        """Key, text and extra. Raises ValueError if the field of the key or of the text is missing.

        Raises WrongFormatError if the first line begins a JSON value that goes on in the next lines.
        """
        first, self._first = self._first, False
        if first and (line.strip()[:1] == "[" or line.strip() == "{"):
            raise WrongFormatError(
                "a JSON array, or JSON over several lines; there must be one JSON object in each line"
            )
        try:
            found = self._decode(line)
        except msgspec.DecodeError as error:
            raise ValueError(explain_json(line, error)) from error
        key, text, *extra = msgspec.structs.astuple(found)
        return _row(self._names, str(key), text if _is_text(text) else self._find_text(line, text), *extra)

    def _decode(self, line: str) -> Any:
        try:
            return self._decoder.decode(line)
        except msgspec.ValidationError as error:
            self._choose_names(line, error)
            return self._decoder.decode(line)

    def _find_text(self, line: str, text: str | None) -> str | None:
        """The first text among all fields of that name: a null `passage` may stand beside a good `text`."""
        found, given = msgspec.json.decode(line), list(self._names.values())[1]
        texts = (found.get(name) for name in given)
        return next((other for other in texts if isinstance(other, str) and _is_text(other)), text)

    def _choose_names(self, line: str, error: msgspec.ValidationError) -> None:
        """Use the field names of this line from now on. Raises ValueError if they are the same as before."""
        value = msgspec.json.decode(line)
        found = value if isinstance(value, dict) else {}
        chosen = [next((name for name in given if name in found), given[0]) for given in self._names.values()]
        for (ours, given), name in list(zip(self._names.items(), chosen, strict=True))[:REQUIRED_COLUMNS]:
            if name not in found:
                raise ValueError(f"no {ours} (a field {' or '.join(given)})") from error
        if chosen == self._chosen:
            raise ValueError(str(error)) from error
        self._build(chosen)

    def _build(self, chosen: list[str]) -> None:
        self._chosen = chosen
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [("key", str | int), ("text", str | None)]
        fields += [("extra", str | None, None)] * (len(chosen) - REQUIRED_COLUMNS)
        rename = dict(zip(Row._fields, chosen, strict=False))
        self._decoder = msgspec.json.Decoder(msgspec.defstruct("Record", fields, rename=rename))


def explain_json(text: str | bytes, error: Exception) -> str:
    """What is wrong with JSON that could not be decoded. msgspec (0.22) calls a lone surrogate truncated data."""
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError as found:
        half = str(found.object[found.start : found.start + 1]).encode("unicode_escape").decode()
        return f"{half} is half of a character (a lone surrogate)"
    except (ValueError, RecursionError):
        pass
    return str(error)


def _is_text(text: str | None) -> bool:
    return text is not None and text.strip() != ""


class TsvParser:
    """A parser of lines split by tabs. If the first line names the key and the text, it is the header.

    Without a header a line has two fields, the key and the text.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._first = True
        self._width = REQUIRED_COLUMNS
        self._places: list[int | None] = [0, 1]

    def skip(self, line: str) -> bool:
        """Whether the line is blank or the header."""
        if not line.strip():
            return True
        first, self._first = self._first, False
        return first and self._read_header(split_tsv(line))

    def parse(self, line: str) -> Row:
        """Key, text and extra. Raises ValueError if the number of fields is wrong."""
        fields = split_tsv(line)
        if len(fields) != self._width:
            needed = " and ".join(list(self._names)[:REQUIRED_COLUMNS])
            raise ValueError(
                f"{len(fields)} fields split by tabs, but there must be {self._width}: {needed}, "
                "or the columns that the first line names"
            )
        key, text, *extra = (None if place is None else fields[place] for place in self._places)
        return _row(self._names, key or "", text, *extra)

    def _read_header(self, fields: list[str]) -> bool:
        """Find our columns in a first line. False if it does not name both the key and the text."""
        places = [
            next((fields.index(name) for name in given if name in fields), None) for given in self._names.values()
        ]
        if None in places[:REQUIRED_COLUMNS]:
            return False
        self._places, self._width = places, len(fields)
        return True


def _row(names: Names, key: str, *texts: str | None) -> Row:
    if not key:
        raise ValueError(f"the {next(iter(names))} is empty")
    return Row(key, *texts)

"""JSON files with a known shape: read as a type, or refused with the file's name."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from rank1_batch.errors import BadFileError
from rank1_batch.storage.store import Store, create_bytes, put_over, read_bytes, write_bytes

T = TypeVar("T")


def read_document(store: Store, path: str, kind: type[T]) -> T | None:
    """The content of a JSON file; None where there is no such file.

    Keys that `kind` does not know are left out: a later version may write more. Raises BadFileError where the file is
    not JSON, or not of this kind.
    """
    data = read_bytes(store, path)
    return None if data is None else parse_document(store, path, data, kind)


def parse_document(store: Store, path: str, data: bytes, kind: type[T]) -> T:
    """The content of a JSON file that was read already. Raises BadFileError as `read_document` does."""
    try:
        return parse_json(data, kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFileError(f"{store.url}/{path} is damaged: {error}") from error


def parse_json(data: bytes, kind: type[T]) -> T:
    """JSON as a type. Raises msgspec.DecodeError or UnicodeDecodeError where it is not."""
    return msgspec.json.decode(data, type=kind)


def write_document(store: Store, path: str, value: Any, seen: Mapping[str, str] | None = None) -> None:
    """Put a JSON file, in place of an earlier one; where `seen` is given, only of the one seen (`see_files`).

    Raises RefusedError where another run has put another file there since.
    """
    if seen is None:
        write_bytes(store, path, to_json(value))
    else:
        put_over(store, path, to_json(value), seen)


def create_document(store: Store, path: str, value: Any) -> bool:
    """Put a JSON file unless there is one: False where there is."""
    return create_bytes(store, path, to_json(value))


def to_json(value: Any) -> bytes:
    """JSON with an indent of two, for people and machines. Dataclasses become objects."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2)

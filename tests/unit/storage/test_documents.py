from pathlib import Path

import pytest

from rank1_batch.errors import BadFileError
from rank1_batch.storage.documents import create_document, read_document, write_document
from rank1_batch.storage.store import Store, open_store, write_bytes


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def test_a_document_is_read_back_as_it_was_written(store: Store) -> None:
    write_document(store, "a.json", {"names": ["ü", "b"]})
    assert read_document(store, "a.json", dict[str, list[str]]) == {"names": ["ü", "b"]}


def test_there_is_no_document_before_it_is_written(store: Store) -> None:
    assert read_document(store, "a.json", dict) is None


def test_the_first_document_that_is_created_stands(store: Store) -> None:
    assert create_document(store, "a.json", 1)
    assert not create_document(store, "a.json", 2)
    assert read_document(store, "a.json", int) == 1


@pytest.mark.parametrize("data", [b"", b'{"a": ', b"\xff\xfe", b"[1, 2]", b'{"a": "text"}'])
def test_a_damaged_document_is_named(store: Store, data: bytes) -> None:
    write_bytes(store, "_rank1/a.json", data)
    with pytest.raises(BadFileError, match=r"_rank1/a\.json is damaged"):
        read_document(store, "_rank1/a.json", dict[str, int])

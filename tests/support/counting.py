"""A file system in memory that counts the bytes that are read from it: `counting://…`."""

from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class CountingFileSystem(MemoryFileSystem):
    """All stores share its files and its count."""

    protocol = "counting"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    bytes_read: ClassVar[int] = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("counting://")))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        """A file's bytes, which are counted."""
        data = bytes(super().cat_file(path, start, end, **options))
        CountingFileSystem.bytes_read += len(data)
        return data


fsspec.register_implementation("counting", CountingFileSystem)

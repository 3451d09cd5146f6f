from pathlib import Path

import pytest

from rank1_batch.errors import RefusedError
from rank1_batch.pairs.inputs import check_planned_files
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.store import UNKNOWN, FileInfo, open_store


def test_a_file_of_which_only_the_size_is_known_is_not_resumed_silently(tmp_path: Path) -> None:
    """Two files of one size would pass for the same one."""
    store = open_store(str(tmp_path))
    for identity in ("etag", f"5{UNKNOWN}"):
        files, planned = [FileInfo("a.parquet", 5, identity)], [Unit("u", "a.parquet", identity, 0, 1, 1)]
        check_planned_files(store, files, [])
        if identity == "etag":
            check_planned_files(store, files, planned)
            continue
        with pytest.raises(RefusedError, match=r"tells only the size of a\.parquet"):
            check_planned_files(store, files, planned)

import subprocess
import sys
from pathlib import Path

from rank1_batch.storage.scratch import scratch_folder
from tests.support.paths import ROOT

KILLED = """
import os, signal, sys
from rank1_batch.storage.scratch import scratch_folder
with scratch_folder(sys.argv[1]) as folder:
    (folder / "bucket").write_bytes(b"rows")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def left(parent: Path) -> list[Path]:
    return sorted(parent.glob("rank1_batch-*"))


def test_what_a_killed_process_left_is_removed_by_the_next_one_and_what_is_in_use_is_kept(tmp_path: Path) -> None:
    (tmp_path / "rank1_batch-of-an-earlier-version").mkdir()
    with scratch_folder(tmp_path) as mine:
        (mine / "bucket").write_bytes(b"mine")
        subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=ROOT, check=False, timeout=60)
        assert len(left(tmp_path)) == 3
        with scratch_folder(tmp_path) as other:
            assert list(other.iterdir()) == []
            assert left(tmp_path) == sorted([mine.parent, other.parent, tmp_path / "rank1_batch-of-an-earlier-version"])
        assert (mine / "bucket").read_bytes() == b"mine"
    assert left(tmp_path) == [tmp_path / "rank1_batch-of-an-earlier-version"]

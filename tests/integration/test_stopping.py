"""A job that is stopped or loses a replica keeps the rows that were finished, also of units that are not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from rank1_batch.output.layout import KEPT_FOLDER
from rank1_batch.output.notes.kept import count_kept
from rank1_batch.storage.store import open_store
from tests.support.seaweed import wait_for
from tests.support.tiny_model import tiny_pairs

ROWS = 200
LONG_TAIL = ("engine.args.seconds_per_row=0.2", "engine.args.long_rows=0.1", "engine.max_num_seqs=8")
"""One row in ten takes 5 s: a unit of 32 rows has three of them."""


def test_sigterm_keeps_the_finished_rows_of_units_that_cannot_end_within_the_grace(
    tmp_path: Path, start_job: Callable[..., Any], run_job: Callable[..., tuple[int, str]]
) -> None:
    pq.write_table(tiny_pairs(ROWS), tmp_path / "pairs.parquet")
    settings = [
        "model=custom", "model.name=none", "engine=scripted", "policy.max_thinking_tokens=150", "engine.cpus=0.1",
        f"input.path={tmp_path / 'pairs.parquet'}", f"output.path={tmp_path / 'judged'}", *LONG_TAIL,
    ]  # fmt: skip
    output = open_store(str(tmp_path / "judged"))
    job = start_job(*settings, "run.grace_s=4")
    wait_for(lambda: count_kept(output) >= 10, "nothing was kept", 120)
    job.terminate()
    printed = job.communicate(timeout=60)[0]
    assert job.returncode == 130, printed
    committed = sum(pq.read_metadata(file).num_rows for file in (tmp_path / "judged" / "judgments").glob("*.parquet"))
    kept = count_kept(output)
    assert kept > 0
    assert committed + kept < ROWS
    code, printed = run_job(*settings)
    assert code == 0, printed
    judged = pq.read_table(tmp_path / "judged" / "judgments").to_pylist()
    assert sorted(row["row"] for row in judged) == list(range(ROWS))
    assert not list((tmp_path / "judged" / KEPT_FOLDER).glob("*"))

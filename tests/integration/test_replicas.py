"""How many replicas work on a job, and when, on a Ray of its own."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from tests.support.tiny_model import tiny_pairs

Run = Callable[..., tuple[int, str]]


def test_as_many_replicas_work_as_there_is_room_for_and_share_the_work(run_job: Run, tmp_path: Path) -> None:
    """Ray's pool of actors stayed at one for ever (Ray 2.60, with its own settings)."""
    pq.write_table(tiny_pairs(800), tmp_path / "pairs.parquet", row_group_size=100)
    code, printed = run_job(
        "model=custom", "model.name=none", "engine=scripted", "policy.max_thinking_tokens=150",
        f"input.path={tmp_path}/pairs.parquet", f"output.path={tmp_path}/judged", "input.unit_rows=10",
        "cluster.max_replicas=4", "engine.cpus=0.2", "engine.max_num_seqs=8", "engine.args.seconds_per_row=0.5",
    )  # fmt: skip
    assert code == 0, printed
    this_run = json.loads((tmp_path / "judged" / "summary.json").read_text())["this_run"]
    units = [worked["units"] for worked in this_run["replicas"].values()]
    assert sum(units) == this_run["units"]
    assert len(units) == 4
    assert min(units) >= 10

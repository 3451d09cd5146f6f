"""The scripts for SLURM, submitted to its real daemons: jobs that get a notice are requeued, and lose nothing."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.paths import ROOT
from tests.support.seaweed import wait_for
from tests.support.slurm import Slurm, run_slurm
from tests.support.tiny_model import tiny_pairs

SCRIPTED = ["model=custom", "model.name=none", "engine=scripted", "policy.max_thinking_tokens=150"]

SLOW = ["input.unit_rows=10", "engine.max_num_seqs=8", "engine.args.seconds_per_row=1"]
"""100 rows take one replica some 12 seconds."""

JOB_LIMIT_S = 250


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    """SLURM on two nodes, which see `tmp_path` as their shared folder."""
    with run_slurm(tmp_path, nodes=2) as slurm:
        yield slurm


def write_pairs(path: Path, seed: int, rows: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(tiny_pairs(rows, seed=seed), path)


def submit(slurm: Slurm, script: str, *words: str, options: tuple[str, ...] = ()) -> str:
    """The id of a job, whose script asks for fewer CPUs than it does elsewhere."""
    own = ["--parsable", "--cpus-per-task=2", *options, str(ROOT / "deploy" / script)]
    return slurm.run("sbatch", *own, *words, *SCRIPTED, *SLOW).strip()


def describe(slurm: Slurm, job: str) -> dict[str, str]:
    """What SLURM says of a job, by its names."""
    return dict(re.findall(r"(\w+)=(\S*)", slurm.run("scontrol", "show", "job", job)))


def notify(slurm: Slurm, job: str, output: Path) -> None:
    """Send a job's script the signal that SLURM sends before the time limit, when the first unit is judged."""
    wait_for(lambda: list(output.glob("judgments/*.parquet")), "nothing was judged", JOB_LIMIT_S)
    slurm.run("scancel", "--batch", "--signal=USR1", job)


def wait_for_end(slurm: Slurm, job: str) -> dict[str, str]:
    """What SLURM says of a job that is done."""
    ends = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
    wait_for(lambda: describe(slurm, job)["JobState"] in ends, "the job did not end", JOB_LIMIT_S)
    return describe(slurm, job)


def read_ids(folder: Path) -> list[tuple[str, str]]:
    rows = pq.read_table(folder, columns=["query_id", "doc_id"]).to_pylist()
    return sorted((row["query_id"], row["doc_id"]) for row in rows)


def read_summary(output: Path) -> dict[str, Any]:
    return dict(json.loads((output / "summary.json").read_text()))


def test_a_job_over_two_nodes_commits_at_a_notice_is_requeued_and_judges_every_row_once(
    slurm: Slurm, tmp_path: Path
) -> None:
    for shard in range(3):
        write_pairs(tmp_path / "pairs" / f"{shard}.parquet", shard, rows=100)
    judged = tmp_path / "judged"
    places = [f"input.path={tmp_path}/pairs", f"output.path={judged}"]
    job = submit(slurm, "slurm.sbatch", *places, options=("--nodes=2",))
    notify(slurm, job, judged)
    end = wait_for_end(slurm, job)
    printed = (tmp_path / f"slurm-{job}.out").read_text()
    assert (end["JobState"], end["Restarts"]) == ("COMPLETED", "1"), printed
    assert "Stopped as requested" in printed
    assert "units are judged already, resuming" in printed
    assert read_ids(judged / "judgments") == read_ids(tmp_path / "pairs")
    summary = read_summary(judged)
    assert summary["errors"] == 0
    assert sorted(name.partition("@")[2] for name in summary["this_run"]["replicas"]) == ["node1", "node2"]


def test_an_array_judges_each_part_into_an_output_of_its_own_and_requeues_the_task_that_got_a_notice(
    slurm: Slurm, tmp_path: Path
) -> None:
    parts = [tmp_path / "pairs" / name for name in ("north", "south")]
    for seed, part in enumerate(parts):
        write_pairs(part / "0.parquet", seed, rows=100)
    (tmp_path / "parts.txt").write_text("".join(f"{part}\n" for part in parts))
    array = submit(slurm, "slurm_array.sbatch", "parts.txt", str(tmp_path / "judged"), options=("--array=1-2",))
    notify(slurm, f"{array}_1", tmp_path / "judged" / "north")
    for task, part, restarts in ((1, parts[0], "1"), (2, parts[1], "0")):
        end = wait_for_end(slurm, f"{array}_{task}")
        printed = (tmp_path / f"slurm-{array}_{task}.out").read_text()
        assert (end["JobState"], end["Restarts"]) == ("COMPLETED", restarts), printed
        assert read_ids(tmp_path / "judged" / part.name / "judgments") == read_ids(part)

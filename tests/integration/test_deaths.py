"""Engines that die, processes that are killed and engines that hang, over one row of a unit: it costs that row."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from rank1_batch.output.deaths import read_deaths
from rank1_batch.storage.store import open_store
from tests.support.tiny_model import number_pairs

Run = Callable[..., tuple[int, str]]

JOB = [
    "model=custom", "model.name=none", "engine=scripted", "policy.max_thinking_tokens=150", "output.max_error_rate=1",
    "engine.max_num_seqs=8", "engine.cpus=0.2", "run.log_every_s=1",
]  # fmt: skip


@pytest.mark.parametrize(
    ("how", "rows", "reason"),
    [
        ("die_on", 300, "the scripted engine died"),
        ("kill_on", 300, "its process was killed, or crashed"),
        ("hang_on", 40, "its engine has finished no row for 3 s (run.stall_s)"),
    ],
)
def test_a_row_over_which_replicas_die_costs_that_row_alone(
    run_job: Run, tmp_path: Path, how: str, rows: int, reason: str
) -> None:
    """A killed process was started again without end, and a hung one for ever waited for."""
    pq.write_table(number_pairs(rows), tmp_path / "pairs.parquet")
    code, printed = run_job(
        *JOB, f"input.path={tmp_path}/pairs.parquet", f"output.path={tmp_path}/judged",
        f"engine.args.{how}='passage number {rows // 3} '", "run.stall_s=3",
    )  # fmt: skip
    assert code == 0, printed
    judged = pq.read_table(tmp_path / "judged" / "judgments")
    assert len(judged) == rows
    failed = judged.filter(pc.is_valid(judged["error"])).to_pylist()
    assert [(row["row"], row["error"].split(":")[0]) for row in failed] == [(rows // 3, "set aside")]
    assert judged["score"].null_count == 1
    deaths = read_deaths(open_store(str(tmp_path / "judged"))).values()
    assert all(death.reason.startswith(reason) for death in deaths), deaths
    assert 3 <= len(deaths) <= 3 + 8


def test_a_job_whose_engine_never_answers_says_so_and_ends(run_job: Run, tmp_path: Path) -> None:
    """It printed nothing, for ever."""
    pq.write_table(number_pairs(40), tmp_path / "pairs.parquet")
    code, printed = run_job(
        *JOB, f"input.path={tmp_path}/pairs.parquet", f"output.path={tmp_path}/judged", "cluster.wait_s=60",
        "engine.args.hang_on=passage", "run.stall_s=4",
    )  # fmt: skip
    assert code == 5, printed
    assert "no row judged for 2 s" in printed
    assert "died: its engine has finished no row for 4 s (run.stall_s); 10 rows of " in printed
    assert "1 of 1 replicas have begun to judge, " in printed.splitlines()[-1]

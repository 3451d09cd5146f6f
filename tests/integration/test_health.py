"""Whole jobs whose scores are watched: health gates, and a golden set that every replica must agree with."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import s3fs
from ray.cluster_utils import Cluster

from rank1_batch.jobs.golden.command import main as make_golden
from tests.support.tiny_model import tiny_pairs

Run = Callable[..., tuple[int, str]]
CLOSES_MANY = "policy.max_thinking_tokens=150"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A Ray of one node."""
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_AUTH_MODE", "disabled")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()
    patch.undo()


@pytest.fixture
def settings(address: str, tmp_path: Path) -> list[str]:
    """Settings of a scripted job over 120 pairs; the last two are the paths."""
    (tmp_path / "pairs").mkdir()
    pq.write_table(tiny_pairs(120), tmp_path / "pairs" / "0.parquet")
    engine = ["model=custom", "model.name=none", "engine=scripted", "policy.max_thinking_tokens=400"]
    return [
        *engine,
        f"cluster.address={address}",
        f"input.path={tmp_path / 'pairs'}",
        f"output.path={tmp_path / 'judged'}",
    ]


def read_summary(tmp_path: Path) -> dict[str, Any]:
    return dict(json.loads((tmp_path / "judged" / "summary.json").read_text()))


def finish(run_job: Run, *settings: str) -> str:
    """What a job prints that comes to its end."""
    code, printed = run_job(*settings)
    assert code == 0, printed
    return printed


def test_a_gate_that_fails_ends_a_whole_job_with_exit_code_7_until_it_is_taken_as_it_is(
    settings: list[str], run_job: Run, tmp_path: Path
) -> None:
    settings += [CLOSES_MANY, "input.unit_rows=30"]
    success = tmp_path / "judged" / "_SUCCESS"
    printed = finish(run_job, *settings)
    summary = read_summary(tmp_path)
    (closed,) = (gate for gate in summary["gates"] if gate["name"] == "closed")
    assert closed == {
        "name": "closed", "value": round(summary["closed"] / 120, 6), "limit": 0.03, "passed": False, "severity": "warn"
    }  # fmt: skip
    assert f"warning: {100 * closed['value']:.3g} % of the rows were closed" in printed
    assert "policy.max_thinking_tokens" in printed
    assert success.exists()

    strict = [*settings, "gates.fail.closed=0.05"]
    told = []
    for _ in range(2):  # a schedule that tries again gets the same
        code, printed = run_job(*strict)
        assert code == 7, printed
        told.append([line for line in printed.splitlines() if line.startswith(("warning:", "failed:", "All rows"))])
        assert not success.exists()
    assert told[0] == told[1]
    assert any("gates.fail.closed=0.05" in line for line in told[0])
    assert read_summary(tmp_path)["rows"] == 120
    assert read_summary(tmp_path)["this_run"]["rows"] == 0

    assert "of the rows were closed" not in finish(run_job, *settings, "gates.fail.closed=0.9", "gates.warn.closed=0.9")
    assert success.exists()


def test_a_resumed_job_gets_the_gates_of_one_that_was_not_stopped(
    settings: list[str], run_job: Run, tmp_path: Path
) -> None:
    settings += [CLOSES_MANY, "input.unit_rows=30"]
    finish(run_job, *settings)
    gates = read_summary(tmp_path)["gates"]
    for unit in sorted((tmp_path / "judged" / "judgments").iterdir())[:2]:
        unit.unlink()
    (tmp_path / "judged" / "_SUCCESS").unlink()
    finish(run_job, *settings)
    assert read_summary(tmp_path)["gates"] == gates
    assert read_summary(tmp_path)["this_run"]["units"] == 2


def test_a_replica_that_agrees_with_the_golden_set_works_and_one_that_differs_does_not(
    settings: list[str], run_job: Run, s3: s3fs.S3FileSystem, bucket: str, tmp_path: Path
) -> None:
    """The set is in an object store whose credentials the driver alone has."""
    finish(run_job, *settings)
    golden = f"{bucket}/golden/none.parquet"
    assert make_golden([*settings[-2:], f"golden.path={golden}"]) == 0
    assert make_golden([*settings[-2:], f"golden.path={golden}"]) == 6
    later = [*settings[:-1], f"output.path={tmp_path / 'later'}", f"golden.path={golden}", "golden.tolerance=0"]
    finish(run_job, *later)

    table = pq.read_table(golden.removeprefix("s3://"), filesystem=s3)
    row = table.slice(3, 1).to_pylist()[0]
    scores = table["score"].to_pylist()
    scores[3] += 0.2
    wrong = table.set_column(table.schema.get_field_index("score"), "score", pa.array(scores))
    pq.write_table(wrong, golden.removeprefix("s3://"), filesystem=s3)
    never = tmp_path / "never"
    code, printed = run_job(*later, f"output.path={never}", "golden.tolerance=0.1")
    assert code == 8, printed
    pair = f"{row['query_id']}/{row['doc_id']}"
    assert f"{pair}: score {row['score'] + 0.2:.4f} expected, {row['score']:.4f} got" in printed
    assert printed.count("expected") == 1
    assert not list(never.glob("judgments/*"))

    code, printed = run_job(*later, f"output.path={tmp_path / 'other'}", "model.name=another")
    assert code == 2, printed
    assert "model.name: 'none' there, 'another' now" in printed
    assert "logs: " not in printed
    assert not (tmp_path / "other").exists()

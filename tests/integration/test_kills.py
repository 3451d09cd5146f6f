"""A job that is killed anywhere goes on with the same command, and ends with one judgment a row."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs

from tests.seaweed import wait_for

ROWS, QUERIES = 600, 30
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def pairs(s3: s3fs.S3FileSystem, bucket: str) -> str:
    """Three shards of pairs on S3."""
    for shard in range(3):
        rows = range(shard * ROWS // 3, (shard + 1) * ROWS // 3)
        table = pa.table(
            {
                "query_id": [f"q{row * QUERIES // ROWS}" for row in rows],
                "query": [f"query number {row * QUERIES // ROWS}" for row in rows],
                "doc_id": [f"d{row}" for row in rows],
                "passage": [f"the passage of row {row} " * 3 for row in rows],
            }
        )
        with s3.open(f"{bucket}/pairs/{shard}.parquet", "wb") as file:
            pq.write_table(table, file, row_group_size=64)
    return f"{bucket}/pairs"


@pytest.mark.timeout(1200)  # loads a model three times
def test_driver_and_actor_and_engine_killed_on_a_real_engine(
    s3: s3fs.S3FileSystem, bucket: str, pairs: str, tiny_model: Path, start_job: Start
) -> None:
    """SIGKILL on the actor, then on the driver, then in the resumed run on the engine: all rows once."""
    settings = [
        "model=custom", f"model.name={tiny_model}", "model.max_model_len=512", "engine=vllm_cpu",
        "engine.env.VLLM_CPU_KVCACHE_SPACE=1", "engine.max_num_seqs=8", "input.unit_rows=16",
        "policy.max_thinking_tokens=24", f"input.path={pairs}", f"output.path={bucket}/judged",
    ]  # fmt: skip
    job = start_job(*settings)
    wait_for(lambda: len(committed(s3, bucket)) >= 3, "nothing was judged", 300)
    (actor,), engine = find_below(job.pid, "JudgeActor"), find_below(job.pid, "VLLM")
    actor.kill()
    wait_for(lambda: not alive(engine), "an engine outlives its replica, and would keep its GPU")
    wait_for(lambda: find_below(job.pid, "JudgeActor"), "no replica takes the place of the one that died", 60)
    replica = find_below(job.pid, "JudgeActor")
    job.kill()
    job.communicate()
    assert engine
    wait_for(lambda: not alive(replica), "a replica outlives its driver")
    before = committed(s3, bucket)
    assert 3 <= len(before) < ROWS // 16

    job = start_job(*settings)
    wait_for(lambda: len(committed(s3, bucket)) > len(before), "nothing was judged after the resume", 300)
    (core,) = find_below(job.pid, "EngineCore")
    core.kill()
    printed, _ = job.communicate(timeout=400)
    assert job.returncode == 0, printed
    check_output(s3, bucket, pairs, before)


def committed(s3: s3fs.S3FileSystem, bucket: str) -> dict[str, str]:
    """Committed files and their etags."""
    found = s3.find(f"{bucket}/judged/judgments", detail=True).values()
    return {info["name"]: info["ETag"] + str(info["LastModified"]) for info in found if info["type"] == "file"}


def alive(family: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def find_below(driver: int, name: str) -> list[psutil.Process]:
    """The processes below the driver whose title holds `name`."""
    return [process for process in alive(psutil.Process(driver).children(recursive=True)) if name in title(process)]


def title(process: psutil.Process) -> str:
    """Empty for one that has just ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def check_output(s3: s3fs.S3FileSystem, bucket: str, pairs: str, before: dict[str, str]) -> None:
    """Each input row is judged exactly once, and what was committed before was not written again."""
    after = committed(s3, bucket)
    assert {name: after[name] for name in before} == before
    rows = sorted(key for name in after for key in keys(s3, name))
    assert rows == sorted(key for name in s3.find(pairs) for key in keys(s3, name))
    assert s3.exists(f"{bucket}/judged/_SUCCESS")


def keys(s3: s3fs.S3FileSystem, path: str) -> Iterator[tuple[str, str]]:
    with s3.open(path, "rb") as file:
        table = pq.read_table(file, columns=["query_id", "doc_id"])
    return zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), strict=True)

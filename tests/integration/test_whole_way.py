"""From a first-stage run to ranks, metrics and labels, all on S3: SciFact's slice and NovelEval, the demo model.

The job that judges is killed three times on its way, and goes on each time with the same command.
"""

import contextlib
import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import s3fs

from tests.integration.conftest import ONE_PROCESS
from tests.support.paths import ROOT
from tests.support.seaweed import wait_for

EXAMPLES = ROOT / "examples"
SCIFACT, NOVELEVAL = EXAMPLES / "scifact", EXAMPLES / "noveleval"
SCIFACT_QUERIES, SCIFACT_DEPTH = 3, 2
NOVELEVAL_QUERIES, NOVELEVAL_DEPTH = ["0", "2"], 3  # not "1": SciFact has a query of that id, too
Rows = list[dict[str, Any]]
Finish = Callable[..., None]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def finish(run_job: Callable[..., tuple[int, str]]) -> Finish:
    """Runs a job that must end with exit code 0."""

    def run(name: str, *settings: str) -> None:
        code, printed = run_job(*settings, name=name)
        assert code == 0, printed

    return run


@pytest.mark.timeout(1200)  # loads a model three times
def test_a_run_becomes_ranks_metrics_and_labels_wherever_its_judge_is_killed(
    s3: s3fs.S3FileSystem,
    bucket: str,
    demo_model: Path,
    start_job: Start,
    finish: Finish,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One job judges both sets, so that each load of the model serves both."""
    monkeypatch.setenv("RAY_worker_niceness", "0")  # Ray would put replicas behind all other tests
    run, grades = upload_scifact(s3, bucket)
    upload_noveleval(s3, bucket)
    finish(
        "prepare", f"run={bucket}/scifact/bm25.trec", f"queries={bucket}/scifact", f"corpus={bucket}/scifact",
        f"depth={SCIFACT_DEPTH}", f"output.path={bucket}/scifact/pairs",
    )  # fmt: skip
    judge_and_kill(
        s3, bucket, start_job,
        "model=demo_full", "engine=vllm_cpu", "engine.max_num_seqs=2", "policy.max_thinking_tokens=192",
        "engine.env.VLLM_CPU_OMP_THREADS_BIND=nobind", "engine.env.OMP_NUM_THREADS=1",
        f"engine.args.distributed_executor_backend={ONE_PROCESS}",
        f"input.unit_rows={SCIFACT_DEPTH}", f"input.path=[{bucket}/scifact/pairs,{bucket}/noveleval]",
        f"output.path={bucket}/judged",
    )  # fmt: skip
    judged = pq.read_table(f"{bucket.removeprefix('s3://')}/judged/judgments", filesystem=s3).to_pylist()
    pairs = read_pairs(s3, bucket)
    assert len(pairs) == SCIFACT_QUERIES * SCIFACT_DEPTH + len(NOVELEVAL_QUERIES) * NOVELEVAL_DEPTH
    assert sorted((row["query_id"], row["doc_id"]) for row in judged) == sorted(pairs)
    assert all(0 < row["score"] < 1 and row["trace"] for row in judged)
    summary = json.loads(s3.cat(f"{bucket}/judged/summary.json"))
    assert (summary["rows"], summary["errors"]) == (len(judged), 0)
    assert summary["queries"] == SCIFACT_QUERIES + len(NOVELEVAL_QUERIES)
    assert SCIFACT_DEPTH in [stage["depth"] for stage in summary["first_stages"]]
    assert "bm25.trec" in str(summary["first_stages"])

    finish(
        "evaluate", f"output.path={bucket}/judged", f"qrels={bucket}/scifact/qrels/test.tsv",
        f"report.path={bucket}/report", "measures=[P@2,RR@2,nDCG@2]",
    )  # fmt: skip
    measured = json.loads(s3.cat(f"{bucket}/report/evaluation.json"))["measures"]
    # The same two candidates of each query, in the old order and in the new: the measure that knows no order is equal.
    assert measured["P@2"]["first_stage"] == measured["P@2"]["value"] == precision_at(SCIFACT_DEPTH, run, grades)
    assert 0 < measured["RR@2"]["value"] <= 1

    finish(
        "export", f"output.path={bucket}/judged", f"labels.path={bucket}/labels", f"qrels={bucket}/noveleval.txt",
        "format=[rank1,scores]", "labels.keep_without=[positive,negative]", "labels.drop_called_true=false",
    )  # fmt: skip
    check_labels(s3, f"{bucket}/labels", judged)


def judge_and_kill(s3: s3fs.S3FileSystem, bucket: str, start_job: Start, *settings: str) -> None:
    """SIGKILL on the actor, then on the driver, then in the resumed run on the engine: no commit is written again."""
    job = start_job(*settings)
    wait_for(lambda: committed(s3, bucket), "nothing was judged", 400)
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

    job = start_job(*settings)
    wait_for(lambda: len(committed(s3, bucket)) > len(before), "nothing was judged after the resume", 400)
    (core,) = find_below(job.pid, "EngineCore")
    core.kill()
    between = committed(s3, bucket)
    printed, _ = job.communicate(timeout=400)
    assert job.returncode == 0, printed
    after = committed(s3, bucket)
    assert before.items() < between.items() < after.items()
    assert s3.exists(f"{bucket}/judged/_SUCCESS")


def committed(s3: s3fs.S3FileSystem, bucket: str) -> dict[str, str]:
    """Committed files, with what changes when they are written again."""
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


def read_pairs(s3: s3fs.S3FileSystem, bucket: str) -> list[tuple[str, str]]:
    """The ids of all pairs that the judge is given."""
    shards = [shard for folder in ("scifact/pairs", "noveleval") for shard in s3.glob(f"{bucket}/{folder}/*.parquet")]
    tables = [pq.read_table(shard, columns=["query_id", "doc_id"], filesystem=s3) for shard in shards]
    return [(row["query_id"], row["doc_id"]) for table in tables for row in table.to_pylist()]


def upload_scifact(s3: s3fs.S3FileSystem, bucket: str) -> tuple[list[str], list[str]]:
    """The first queries, their run and their grades, and the whole corpus; returns the lines of run and grades."""
    queries = (SCIFACT / "queries.jsonl").read_text().splitlines()[:SCIFACT_QUERIES]
    chosen = {json.loads(line)["_id"] for line in queries}
    run = [line for line in (SCIFACT / "bm25.trec").read_text().splitlines() if line.split()[0] in chosen]
    grades = (SCIFACT / "qrels" / "test.tsv").read_text().splitlines()
    grades = [line for line in grades if line.split("\t")[0] in {"query-id", *chosen}]
    for name, lines in {"queries.jsonl": queries, "bm25.trec": run, "qrels/test.tsv": grades}.items():
        s3.pipe(f"{bucket}/scifact/{name}", "\n".join(lines).encode())
    s3.pipe(f"{bucket}/scifact/corpus.jsonl.gz", gzip.compress((SCIFACT / "corpus.jsonl").read_bytes()))
    return run, grades


def upload_noveleval(s3: s3fs.S3FileSystem, bucket: str) -> None:
    """The first candidates of some queries, and the grades of all."""
    chosen = pc.field("query_id").isin(NOVELEVAL_QUERIES) & (pc.field("first_stage_rank") <= NOVELEVAL_DEPTH)
    table = pq.read_table(NOVELEVAL / "pairs" / "part-0.parquet", filters=chosen)
    with s3.open(f"{bucket}/noveleval/part-0.parquet", "wb") as file:
        pq.write_table(table, file)
    s3.put(str(NOVELEVAL / "qrels.txt"), f"{bucket}/noveleval.txt")


def precision_at(depth: int, run: list[str], grades: list[str]) -> object:
    """P@depth of a run, counted by hand."""
    relevant = {tuple(line.split("\t")[:2]) for line in grades[1:]}
    hits = sum((query, doc) in relevant for query, _, doc, rank, *_ in map(str.split, run) if int(rank) <= depth)
    return pytest.approx(hits / depth / SCIFACT_QUERIES)


def check_labels(s3: s3fs.S3FileSystem, labels: str, judged: Rows) -> None:
    """All that ended by itself is there with its reasoning, and agrees with people as often as the report says."""
    finished = {(row["unit_id"], row["row"]): row for row in judged if row["finish"] == "complete"}
    assert len(finished) > len(judged) / 2  # the demo model ends its reasoning by itself
    report = json.loads(s3.cat(f"{labels}/labels.json"))
    assert (report["rows"], report["exported"]) == (len(judged), len(finished))
    assert "smollm2-135m-rank1" in s3.cat(f"{labels}/labels_card.md").decode()

    links = pq.read_table(f"{labels.removeprefix('s3://')}/links/rank1", filesystem=s3).to_pylist()
    lines = s3.cat(f"{labels}/rank1/train/part-00000.jsonl").decode().splitlines()
    outputs = {
        (link["unit_id"], link["row"]): json.loads(line)["output"] for link, line in zip(links, lines, strict=True)
    }
    assert outputs == {
        key: f"<think>{row['trace']}</think> {str(row['label']).lower()}" for key, row in finished.items()
    }

    grades = (line.split() for line in (NOVELEVAL / "qrels.txt").read_text().splitlines())
    relevant = {(query, doc) for query, _, doc, grade in grades if int(grade) > 0}
    graded = [row for row in finished.values() if row["query_id"] in NOVELEVAL_QUERIES]
    called = [row for row in graded if row["label"]]
    right = [row for row in called if (row["query_id"], row["doc_id"]) in relevant]
    assert report["trust"]["graded"]["pairs"] == len(graded)
    precision = report["trust"]["verdicts"]["precision"]["value"]
    assert precision == (pytest.approx(len(right) / len(called)) if called else None)

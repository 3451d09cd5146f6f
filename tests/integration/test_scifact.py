"""From a first-stage run to ranks and metrics, all on S3: SciFact's slice, BM25, the demo model."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import s3fs

SCIFACT = Path(__file__).parents[2] / "examples" / "scifact"
DEPTH, QUERIES = 2, 5
Run = Callable[..., tuple[int, str]]


@pytest.mark.timeout(600)  # loads a model
def test_a_run_becomes_ranks_and_metrics(s3: s3fs.S3FileSystem, bucket: str, demo_model: Path, run_job: Run) -> None:
    queries = (SCIFACT / "queries.jsonl").read_text().splitlines()[:QUERIES]
    chosen = {json.loads(line)["_id"] for line in queries}
    run = [line for line in (SCIFACT / "bm25.trec").read_text().splitlines() if line.split()[0] in chosen]
    grades = (SCIFACT / "qrels" / "test.tsv").read_text().splitlines()
    grades = [line for line in grades if line.split("\t")[0] in {"query-id", *chosen}]
    for name, lines in {"queries.jsonl": queries, "bm25.trec": run, "qrels/test.tsv": grades}.items():
        s3.pipe(f"{bucket}/scifact/{name}", "\n".join(lines).encode())
    s3.pipe(f"{bucket}/scifact/corpus.jsonl.gz", gzip.compress((SCIFACT / "corpus.jsonl").read_bytes()))
    first_stage = f"{bucket}/scifact/bm25.trec"
    code, printed = run_job(
        f"run={first_stage}", f"queries={bucket}/scifact", f"corpus={bucket}/scifact", f"depth={DEPTH}",
        f"output.path={bucket}/pairs", name="prepare",
    )  # fmt: skip
    assert code == 0, printed

    code, printed = run_job(
        "model=demo_full", "engine=vllm_cpu", "engine.max_num_seqs=16", "prompt=scifact",
        "policy.max_thinking_tokens=16", f"input.path={bucket}/pairs", f"output.path={bucket}/judged",
    )  # fmt: skip
    assert code == 0, printed
    summary = json.loads(s3.cat(f"{bucket}/judged/summary.json"))
    assert (summary["rows"], summary["queries"], summary["errors"]) == (QUERIES * DEPTH, QUERIES, 0)
    assert summary["prompt"]["id"] == "scifact"
    assert [stage["depth"] for stage in summary["first_stages"]] == [DEPTH]
    assert "bm25.trec" in str(summary["first_stages"])
    judged = pq.read_table(f"{bucket.removeprefix('s3://')}/judged/judgments", filesystem=s3)
    assert all(0 < row["score"] < 1 and row["trace"] for row in judged.to_pylist())

    code, printed = run_job(
        f"output.path={bucket}/judged", f"qrels={bucket}/scifact/qrels/test.tsv", f"report.path={bucket}/report",
        "measures=[P@2,RR@2,nDCG@2]", name="evaluate",
    )  # fmt: skip
    assert code == 0, printed
    measured = json.loads(s3.cat(f"{bucket}/report/evaluation.json"))
    # The same two candidates of each query, in the old order and in the new: the measure that knows no order is equal.
    found = measured["measures"]
    assert found["P@2"]["first_stage"] == found["P@2"]["value"] == precision_at(DEPTH, run, grades)
    assert 0 < found["RR@2"]["value"] <= 1


def precision_at(depth: int, run: list[str], grades: list[str]) -> object:
    """P@depth of a run, counted by hand."""
    relevant = {tuple(line.split("\t")[:2]) for line in grades[1:]}
    hits = sum((query, doc) in relevant for query, _, doc, rank, *_ in map(str.split, run) if int(rank) <= depth)
    return pytest.approx(hits / depth / QUERIES)

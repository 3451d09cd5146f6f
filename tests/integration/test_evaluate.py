"""`python -m jobs.evaluate` as a user types it, on files and on a job's output in S3."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import s3fs

from rank1_batch.storage.store import open_store
from tests.support.judged import write_judged
from tests.support.paths import ROOT

SCIFACT = "tests/data/scifact"


def evaluate(*settings: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "jobs.evaluate", *settings]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)


def test_a_run_is_measured_by_its_grades() -> None:
    """nDCG@10 of BM25 on SciFact is 0.6863."""
    ended = evaluate(f"run={SCIFACT}/bm25.trec.gz", f"qrels={SCIFACT}/qrels.tsv")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "nDCG@10    0.6863" in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_a_jobs_output_in_s3_keeps_the_order_of_its_ties(bucket: str, s3: s3fs.S3FileSystem) -> None:
    """Real scores, most of them tied: nDCG@10 0.5938 in first-stage order, as published; 0.5286 by doc_id."""
    table = pq.read_table(ROOT / SCIFACT / "direct_scores.parquet")
    rows = [(row["query_id"], row["doc_id"], row["score"], row["first_stage_rank"]) for row in table.to_pylist()]
    write_judged(open_store(f"{bucket}/judged"), rows, unit_rows=4000)
    report = f"report.path={bucket}/report"
    for source in (f"output.path={bucket}/judged", f"run={bucket}/judged/run.trec.gz"):
        ended = evaluate(source, f"qrels={SCIFACT}/qrels.tsv", "format=json", report)
        assert (ended.returncode, ended.stderr) == (0, "")
        told = json.loads(ended.stdout)
        assert round(told["measures"]["nDCG@10"]["value"], 4) == 0.5938
        assert json.loads(s3.cat_file(f"{bucket}/report/evaluation.json")) == told
        with s3.open(f"{bucket}/report/per_query.parquet") as file:
            assert pq.read_table(file).num_rows == 300 * len(told["measures"])


def test_broken_lines_are_told_and_nothing_is_printed(tmp_path: Path) -> None:
    (tmp_path / "run.trec").write_text("q Q0 a 1 0.5 tag\nq Q0 b 2\n")
    ended = evaluate(f"run={tmp_path}/run.trec", f"qrels={SCIFACT}/qrels.tsv")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"{tmp_path}/run.trec, line 2: 4 fields" in ended.stderr

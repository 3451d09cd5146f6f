"""From a run to judged pairs on a real S3 server: SciFact's slice, with the scripted engine."""

import gzip
import json
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest
import s3fs

from rank1_batch.jobs.prepare.command import main
from rank1_batch.jobs.prepare.job import PROBLEMS_PATH
from tests.support.paths import ROOT

SCIFACT = ROOT / "examples" / "scifact"
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def sources(s3: s3fs.S3FileSystem, bucket: str) -> list[str]:
    """SciFact's slice in a bucket: BEIR's layout, the corpus and the run compressed."""
    s3.pipe(f"{bucket}/beir/queries.jsonl", (SCIFACT / "queries.jsonl").read_bytes())
    s3.pipe(f"{bucket}/beir/corpus.jsonl.gz", gzip.compress((SCIFACT / "corpus.jsonl").read_bytes()))
    s3.pipe(f"{bucket}/runs/bm25.trec.gz", gzip.compress((SCIFACT / "bm25.trec").read_bytes()))
    return [f"run={bucket}/runs/bm25.trec.gz", f"queries={bucket}/beir", f"corpus={bucket}/beir", "depth=10"]


def test_a_run_on_s3_becomes_pairs_that_are_judged_and_know_their_first_stage(
    s3: s3fs.S3FileSystem, bucket: str, sources: list[str], run_job: Run
) -> None:
    assert main([*sources, f"output.path={bucket}/pairs", "output.shard_rows=100"]) == 0
    shards = s3.glob(f"{bucket}/pairs/*.parquet")
    assert len(shards) == 4
    code, printed = run_job(
        "model=custom", "model.name=none", "engine=scripted", "policy=no_think",
        f"input.path={bucket}/pairs", f"output.path={bucket}/judged",
    )  # fmt: skip
    assert code == 0, printed
    summary = json.loads(s3.cat(f"{bucket}/judged/summary.json"))
    assert (summary["rows"], summary["queries"], summary["errors"]) == (330, 33, 0)
    assert summary["first_stages"] == [json.loads(s3.cat(f"{bucket}/pairs/summary.json"))["first_stage"]]
    ranking = pq.read_table(f"{bucket.removeprefix('s3://')}/judged/ranking", filesystem=s3)
    expected = {tuple(line.split()[i] for i in (0, 2, 3)) for line in (SCIFACT / "bm25.trec").read_text().splitlines()}
    found = {(row["query_id"], row["doc_id"], str(row["first_stage_rank"])) for row in ranking.to_pylist()}
    assert found == {line for line in expected if int(line[2]) <= 10}


def test_a_preparation_on_s3_is_made_once_and_gone_on_with(
    s3: s3fs.S3FileSystem, bucket: str, sources: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    settings = [*sources, f"output.path={bucket}/pairs", "output.shard_rows=100"]
    assert main(settings) == 0
    whole = {path: s3.cat(path) for path in s3.find(f"{bucket}/pairs")}
    for name in ("_SUCCESS", "summary.json", PROBLEMS_PATH, "pairs-00002.parquet"):
        s3.rm_file(f"{bucket}/pairs/{name}")
    assert main(settings) == 0
    assert {path: s3.cat(path) for path in s3.find(f"{bucket}/pairs")} == whole
    capfd.readouterr()
    assert main(settings) == 0
    assert "nothing to do" in capfd.readouterr().out
    assert main([*settings, "on_problem=keep"]) == 6


def test_what_is_not_in_the_bucket_is_told(bucket: str, sources: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    settings = [*sources[:2], f"corpus={bucket}/none", f"output.path={bucket}/pairs"]
    assert main(settings) == 2
    assert f"corpus: {bucket}/none" in capfd.readouterr().err

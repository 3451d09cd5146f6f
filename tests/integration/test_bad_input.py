"""What cannot work is said at once, all of it in one message, with exit code 2 and nothing touched."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.tiny_model import tiny_pairs

Run = Callable[..., tuple[int, str]]
ENGINE = ["model=custom", "model.name=none", "engine=scripted"]


def refuse(run_job: Run, tmp_path: Path, *settings: str) -> str:
    """What the job prints when it refuses these settings."""
    code, printed = run_job(*ENGINE, f"output.path={tmp_path / 'judged'}", *settings)
    assert code == 2, printed
    assert "Traceback" not in printed
    assert not (tmp_path / "judged").exists()
    return printed


def test_every_problem_of_the_settings_comes_in_one_message(run_job: Run, tmp_path: Path) -> None:
    printed = refuse(
        run_job,
        tmp_path,
        "input.path=nowhere",
        "output.max_error_rate=7",
        "cluster.replicas=0",
        "input.on_bad_file=drop",
    )
    for key in ("output.max_error_rate", "cluster.replicas", "input.on_bad_file"):
        assert key in printed


def test_each_path_that_names_nothing_is_named(run_job: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.csv").write_text("a,b")
    paths = [tmp_path / "nowhere", tmp_path / "empty", tmp_path / "text"]
    printed = refuse(run_job, tmp_path, f"input.path=[{','.join(map(str, paths))}]")
    assert f"{paths[0]}: there is no such file" in printed
    assert f"{paths[1]} has no Parquet files" in printed
    assert "notes.csv" in printed


def test_missing_columns_and_wrong_types_are_named_with_what_is_there(run_job: Run, tmp_path: Path) -> None:
    pq.write_table(pa.table({"qid": ["1"], "query": [1.5], "doc_id": ["d"], "body": ["x"]}), tmp_path / "in.parquet")
    printed = refuse(run_job, tmp_path, f"input.path={tmp_path / 'in.parquet'}", "input.keep=[source]")
    assert "no column 'query_id'; it has qid, query, doc_id, body" in printed
    assert "no column 'passage'" in printed
    assert "column 'query' is double, but query must be text" in printed
    assert "no column 'source'" in printed


def test_a_file_that_is_no_parquet_is_named(run_job: Run, tmp_path: Path) -> None:
    (tmp_path / "in.parquet").write_bytes(b"not parquet at all")
    assert f"{tmp_path / 'in.parquet'}: not a readable Parquet file" in refuse(
        run_job, tmp_path, f"input.path={tmp_path / 'in.parquet'}"
    )


@pytest.mark.parametrize(
    ("path", "words"), [("{bucket}-other/pairs", "there is no such file"), ("s3x://a/b", "cannot open s3x://")]
)
def test_a_place_that_is_not_there_is_named(run_job: Run, bucket: str, tmp_path: Path, path: str, words: str) -> None:
    assert words in refuse(run_job, tmp_path, f"input.path={path.format(bucket=bucket)}")


def test_a_wrong_secret_is_no_permission(
    run_job: Run, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert "no permission" in refuse(run_job, tmp_path, f"input.path={bucket}/pairs")


def test_more_replicas_than_this_machine_has_gpus_is_said_before_waiting(run_job: Run, tmp_path: Path) -> None:
    pq.write_table(tiny_pairs(20), tmp_path / "in.parquet")
    code, printed = run_job(
        "model=rank1_7b_awq", f"model.revision={'0' * 40}", f"input.path={tmp_path / 'in.parquet'}",
        f"output.path={tmp_path / 'judged'}", "cluster.replicas=64",
    )  # fmt: skip
    assert code == 2, printed
    assert "cluster.replicas=64 needs 64 GPUs" in printed
    assert "engine=vllm_cpu" in printed

"""Input that is wrong in every way that was thought of: each row is accounted for, each error says what it is about."""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.seaweed import wait_for
from tests.support.tiny_model import tiny_pairs

Run = Callable[..., tuple[int, str]]
Start = Callable[..., "subprocess.Popen[str]"]
JOB = ["model=custom", "model.name=none", "model.max_model_len=1200", "engine=scripted", "output.max_error_rate=1"]
JOB += ["policy.max_thinking_tokens=150"]

GOOD = [
    "\0a\0b",
    "</think> true",
    "<think> I am sure: </think> true\n",
    "<|im_end|><|endoftext|><s></s>[INST]",
    "\u200f\u0645\u0631\u062d\u0628\u0627 \u202e abc",
    "👩‍👩‍👧‍👦 e\u0301 ﷽",
    "\ufeff\u2028\u0085",
    "{query} {passage} %s \\N",
    "x" * 2_000_000,
]
BAD = {None: "is null", "": "is empty", " \n\t": "is empty", b"\xff\xfe\x00broken": "is not valid UTF-8"}


def write(folder: Path, name: str, **columns: pa.Array | Sequence[Any]) -> None:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / f"{name}.parquet")


def as_bytes(values: Sequence[str | bytes | None]) -> pa.Array:
    return pa.array([value.encode() if isinstance(value, str) else value for value in values], pa.binary())


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Text that may disturb, in queries and in passages; and shards of different make."""
    folder, texts = tmp_path / "pairs", [*GOOD, *BAD]
    numbers = list(range(len(texts)))
    plain = ["plain"] * len(texts)
    write(folder, "passages", query_id=plain, query=plain, doc_id=numbers, passage=as_bytes(texts))
    write(folder, "queries", query_id=numbers, query=as_bytes(texts), doc_id=plain, passage=plain)
    write(folder, "ids", query_id=as_bytes([*texts[:4], b"\xff", None]), query=plain[:6], doc_id=[1, 2, 3, 4, 5, 6],
          passage=plain[:6])  # fmt: skip
    write(folder, "zero-rows", **tiny_pairs(1).slice(0, 0).to_pydict() | {"query_id": pa.array([], pa.string())})
    ids = {"query_id": ["7", "7"], "doc_id": ["1", "2"]}
    text = {"query": ["q", "q"], "passage": ["p", "p"]}
    write(folder, "drift-0", **ids, **text)
    write(folder, "drift-1", **{name: pa.array(map(int, column), pa.int32()) for name, column in ids.items()}, **text)
    write(folder, "drift-2", **{name: pa.array(map(int, column), pa.int64()) for name, column in ids.items()}, **text,
          first_stage_rank=pa.array([1, 2], pa.uint8()), extra=[{"a": 1}, None])  # fmt: skip
    write(folder, "drift-3", **{name: pa.array(column).dictionary_encode() for name, column in (ids | text).items()},
          title=pa.nulls(2), first_stage_score=pa.array([1, None], pa.float32()))  # fmt: skip
    return folder


def test_every_row_of_a_poisoned_corpus_is_accounted_for(corpus: Path, tmp_path: Path, run_job: Run) -> None:
    code, printed = run_job(*JOB, f"input.path={corpus}", f"output.path={tmp_path / 'judged'}")
    assert code == 0, printed
    rows = judged(tmp_path)
    assert len(rows) == 2 * (len(GOOD) + len(BAD)) + 6 + 8 == summary(tmp_path)["rows"]
    by_file = {name: [row for row in rows if row["file"] == name] for name in ("passages", "queries", "ids")}
    for name in ("passages", "queries"):
        good, bad = by_file[name][: len(GOOD)], by_file[name][len(GOOD) :]
        failed = [row["error"] for row in good if row["error"]]
        # Two million letters of a passage are cut; as many of a query leave no room for a passage.
        assert len(failed) == (name == "queries"), failed
        assert all("room" in error for error in failed)
        assert all(word in row["error"] for row, word in zip(bad, BAD.values(), strict=True)), bad
    assert by_file["passages"][len(GOOD) - 1]["passage_truncated"]
    assert [row["query_id"] for row in by_file["ids"]] == [*GOOD[:4], "\\xff", None]
    assert [bool(row["error"]) for row in by_file["ids"]] == [False] * 4 + [True] * 2
    drifted = [row for row in rows if row["file"].startswith("drift")]
    assert {(row["query_id"], row["doc_id"], row["error"]) for row in drifted} == {("7", "1", None), ("7", "2", None)}
    assert summary(tmp_path)["duplicate_candidates"] == 6
    assert all((row["score"] is None) == (row["error"] is not None) for row in rows)


def test_shards_that_do_not_serve_are_named_all_at_once_among_those_that_do(
    corpus: Path, tmp_path: Path, run_job: Run
) -> None:
    text = {"query_id": ["a"], "query": ["q"], "doc_id": ["d"], "passage": ["p"]}
    write(corpus, "wrong-type", **text | {"passage": [1.5]})
    write(corpus, "wrong-rank", **text, first_stage_rank=["first"])
    write(corpus, "no-query", query_id=["a"], doc_id=["d"], passage=["p"])
    settings = [*JOB, f"input.path={corpus}", f"output.path={tmp_path / 'judged'}"]
    code, printed = run_job(*settings)
    assert code == 2, printed
    for name, problem in (("wrong-type", "'passage' is double"), ("wrong-rank", "'first_stage_rank' is string"),
                          ("no-query", "no column 'query'")):  # fmt: skip
        assert any(f"{name}.parquet" in line and problem in line for line in printed.splitlines()), printed
    assert "drift" not in printed
    assert not (tmp_path / "judged").exists()


@pytest.mark.parametrize("cut_to", [0, 3, 11, 500])
def test_a_truncated_file_is_named_before_anything_is_spent(tmp_path: Path, run_job: Run, cut_to: int) -> None:
    pq.write_table(tiny_pairs(40), tmp_path / "whole.parquet")
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "cut.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[:cut_to])
    code, printed = run_job(*JOB, f"input.path={tmp_path / 'pairs'}", f"output.path={tmp_path / 'judged'}")
    assert code == 2, printed
    assert "cut.parquet" in printed
    assert "Traceback" not in printed


def test_a_file_that_is_replaced_while_the_job_runs_is_named_and_its_rows_are_not_mixed(
    tmp_path: Path, start_job: Start, run_job: Run
) -> None:
    pairs, output = tmp_path / "pairs", tmp_path / "judged"
    pairs.mkdir()
    for shard in range(2):
        pq.write_table(tiny_pairs(200, seed=shard), pairs / f"{shard}.parquet", row_group_size=20)
    settings = [
        *JOB, f"input.path={pairs}", f"output.path={output}", "input.unit_rows=20", "engine.max_num_seqs=4",
        "engine.args.seconds_per_token=0.005",
    ]  # fmt: skip
    job = start_job(*settings)
    wait_for(lambda: job.poll() is not None or list(output.glob("judgments/*.parquet")), "nothing was judged", 200)
    pq.write_table(tiny_pairs(200, seed=7), tmp_path / "new.parquet")
    (tmp_path / "new.parquet").replace(pairs / "1.parquet")
    printed, _ = job.communicate(timeout=200)
    assert job.returncode == 2, printed
    assert "1.parquet: changed or removed since the job was planned" in printed
    before = {path.name: path.read_bytes() for path in output.glob("judgments/*.parquet")}
    assert before
    assert {row["query_id"].split("-")[0] for row in judged(tmp_path)} <= {"q0", "q1"}
    code, printed = run_job(*settings)
    assert code == 6, printed
    assert "1.parquet changed" in printed


def judged(folder: Path) -> list[dict[str, Any]]:
    """All rows with the name of their input file, by file and row."""
    units = {unit["unit_id"]: unit for unit in pq.read_table(folder / "judged/_rank1/units.parquet").to_pylist()}
    tables = [pq.read_table(path) for path in (folder / "judged").glob("judgments/*.parquet")]
    rows = [{**row, "file": Path(units[row["unit_id"]]["path"]).stem} for table in tables for row in table.to_pylist()]
    return sorted(rows, key=lambda row: (row["file"], row["row"]))


def summary(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "judged" / "summary.json").read_text()))

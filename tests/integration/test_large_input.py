"""Input of many files and of many rows, as whole jobs: every row comes out once."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rank1_batch.columns import DOC_ID, PASSAGE, QUERY, QUERY_ID


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("files", "rows_of_each"), [(10_000, 1), (1, 1_000_000)])
def test_ten_thousand_files_and_a_huge_row_group_are_jobs_like_any_other(
    tmp_path: Path, run_job: Callable[..., tuple[int, str]], files: int, rows_of_each: int
) -> None:
    rows = files * rows_of_each
    numbers = pa.array(range(rows)).cast(pa.string())
    texts = {name: pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int8()), [name]) for name in (QUERY, PASSAGE)}
    table = pa.table({QUERY_ID: [f"q{row // 100}" for row in range(rows)], DOC_ID: numbers, **texts})
    (tmp_path / "pairs").mkdir()
    for file in range(files):
        one = table.slice(file * rows_of_each, rows_of_each)
        pq.write_table(one, tmp_path / "pairs" / f"{file:05}.parquet", row_group_size=rows_of_each)
    code, printed = run_job(
        "model=custom", "model.name=none", "engine=scripted", "policy=no_think", "cluster.replicas=2",
        "input.unit_rows=4096", f"input.path={tmp_path / 'pairs'}", f"output.path={tmp_path / 'judged'}", limit_s=800,
    )  # fmt: skip
    assert code == 0, printed
    summary = json.loads((tmp_path / "judged" / "summary.json").read_text())
    assert (summary["rows"], summary["errors"]) == (rows, 0)
    judged = pq.read_table(tmp_path / "judged" / "judgments", columns=[QUERY_ID, DOC_ID, "score"])
    assert judged[DOC_ID].cast(pa.int64()).combine_chunks().sort().equals(pa.array(range(rows)))
    assert judged["score"].null_count == 0

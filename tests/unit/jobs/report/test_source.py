"""An output is read as it is, with the texts that were judged."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rank1_batch.jobs.report.source import open_output, open_report_texts, read_rows
from tests.support.scripted import judge_here
from tests.support.tiny_model import tiny_pairs


@pytest.fixture
def judged(tmp_path: Path) -> str:
    pq.write_table(tiny_pairs(40), tmp_path / "pairs.parquet")
    judge_here(f"input.path={tmp_path}/pairs.parquet", f"output.path={tmp_path}/judged", "input.unit_rows=20")
    return f"{tmp_path}/judged"


def test_an_output_is_read_with_its_texts_in_the_plans_order(judged: str) -> None:
    output = open_output(judged)
    texts = open_report_texts(None, output)
    rows = [row for table in read_rows(output, output.units, texts.reader) for row in table.to_pylist()]
    assert [row["place"] for row in rows] == list(range(40))
    assert [row["passage"] for row in rows] == tiny_pairs(40)["passage"].to_pylist()
    assert output.rows == output.rows_planned == 40


def test_an_output_has_another_version_when_a_unit_is_committed_anew(judged: str) -> None:
    before = open_output(judged)
    path = Path(judged) / "judgments" / f"{before.units[0].unit_id}.parquet"
    path.write_bytes(path.read_bytes())
    assert open_output(judged).version != before.version

import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rank1_batch.columns import FIRST_STAGE_KEY
from rank1_batch.jobs.rerank.planning import plan_units
from rank1_batch.pairs.inputs import open_input
from rank1_batch.pairs.units import UnitSizes, choose_sizes
from rank1_batch.settings import InputConfig

BM25, DENSE = ({"run": [{"name": f"{name}.trec", "sha256": "0a"}], "depth": 100} for name in ("bm25", "dense"))


def write(path: Path, first_stage: object | None) -> None:
    table = pa.table({"query_id": ["1"], "query": ["q"], "doc_id": [path.stem], "passage": ["p"]})
    metadata = {FIRST_STAGE_KEY: json.dumps(first_stage)} if first_stage else None
    pq.write_table(table.replace_schema_metadata(metadata), path)


def test_a_plan_knows_each_first_stage_that_new_files_name_once(tmp_path: Path) -> None:
    for name, first_stage in (("a", BM25), ("b", BM25), ("c", None), ("d", DENSE)):
        write(tmp_path / f"{name}.parquet", first_stage)
    config = InputConfig(path=str(tmp_path))
    plan = plan_units(*open_input(config), config)
    assert plan.first_stages == [BM25, DENSE]
    assert plan_units(*open_input(config), config, plan.units).first_stages == []


def test_a_plan_that_is_there_keeps_its_units_whatever_their_size(tmp_path: Path) -> None:
    text = pa.array(["x"] * 5000)
    table = pa.table({"query_id": text, "query": text, "doc_id": text, "passage": text})
    pq.write_table(table, tmp_path / "0.parquet")
    config = InputConfig(path=str(tmp_path))
    store, files = open_input(config)
    planned = plan_units(store, files, config, sizes=UnitSizes(4096)).units
    assert plan_units(store, files, config, planned, choose_sizes(16, 64)).units == planned
    assert len(plan_units(store, files, config, sizes=choose_sizes(16, 64)).units) > len(planned)


def test_planning_holds_nothing_for_each_query_of_a_shuffled_file(tmp_path: Path) -> None:
    """It held a Python int for each run of equal ids of all files: 38 bytes a row where no two neighbours are equal."""
    for rows in (50_000, 500_000):
        text = pa.array(["x"] * rows)
        ids = pa.array(range(rows)).cast(pa.string())
        table = pa.table({"query_id": ids, "query": text, "doc_id": text, "passage": text})
        pq.write_table(table, tmp_path / f"{rows}.parquet", row_group_size=10_000)
    peaks = {rows: _peak_bytes(tmp_path / f"{rows}.parquet") for rows in (50_000, 500_000)}
    assert peaks[500_000] - peaks[50_000] < 2 * 450_000


def _peak_bytes(path: Path) -> int:
    config = InputConfig(path=str(path))
    store, files = open_input(config)
    tracemalloc.start()
    plan_units(store, files, config)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak

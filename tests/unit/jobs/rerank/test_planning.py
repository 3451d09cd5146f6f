import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rank1_batch.columns import FIRST_STAGE_KEY
from rank1_batch.jobs.rerank.planning import plan_units
from rank1_batch.pairs.inputs import open_input
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

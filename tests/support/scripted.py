"""The output of a finished job, made without Ray: the scripted engine judges every unit of a plan in this process."""

from pathlib import Path

import pyarrow.parquet as pq

from rank1_batch.jobs.rerank.planning import plan_units
from rank1_batch.output.commits import commit_unit
from rank1_batch.output.counts import count_judgments
from rank1_batch.output.fingerprint import build_fingerprint, claim_output
from rank1_batch.output.judgments import build_judgments
from rank1_batch.output.layout import SUCCESS_PATH
from rank1_batch.output.plan import write_plan
from rank1_batch.output.recorded import record_settings
from rank1_batch.pairs.inputs import open_input
from rank1_batch.pairs.layout import read_pairs
from rank1_batch.pairs.reader import UnitReader
from rank1_batch.replica.loop import Replica
from rank1_batch.settings import RerankConfig, load_config
from rank1_batch.storage.store import open_store, write_bytes


def judge_here(*overrides: str) -> RerankConfig:
    """Judge `input.path` into `output.path`, as `jobs.rerank` would with the scripted engine."""
    scripted = ("model=custom", "model.name=none", "engine=scripted", "policy.max_thinking_tokens=150")
    config = load_config([*scripted, *overrides])
    source, files = open_input(config.input)
    output = open_store(config.output.path)
    units = plan_units(source, files, config.input).units
    claim_output(output, build_fingerprint(config))
    record_settings(output, config)
    write_plan(output, units)
    rows = UnitReader(source, config.input.columns, config.input.keep)
    replica = Replica(config)
    for unit in units:
        table, keep = rows.read(unit)
        judgments = replica.judge(read_pairs(table))
        judged = build_judgments(table, judgments, unit.unit_id, keep)
        commit_unit(output, unit, judged, count_judgments(judgments))
    replica.close()
    write_bytes(output, SUCCESS_PATH, b"")
    return config


def read_links(labels: Path, name: str, split: str = "train") -> list[dict[str, object]]:
    """The links of an export format, in the order of files, records and positions."""
    rows = [row for path in (labels / "links" / name / split).glob("*") for row in pq.read_table(path).to_pylist()]
    return sorted(rows, key=lambda row: (row["file"], row["record"], row["place"]))

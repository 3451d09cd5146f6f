"""jobs.export on many judgments: seconds, CPU seconds and peak memory, by the number of rows.

    python -m benchmarks.export [ROWS …]     default: 100000 1000000

Judgments are made up and committed as a job would commit them; 100 candidates a query, passages of
about 500 letters. Formats: tevatron, st_pairs and qrels.
"""

import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.measuring import DEPTH, run_job, write_pairs
from rank1_batch.columns import CANDIDATE, DOC_ID, FIRST_STAGE_RANK, QUERY_ID, ROW, UNIT_ID
from rank1_batch.jobs.rerank.planning import plan_units
from rank1_batch.output.commits import commit_unit
from rank1_batch.output.counts import Counts
from rank1_batch.output.fingerprint import build_fingerprint, claim_output
from rank1_batch.output.judgments import JUDGMENT_TYPES
from rank1_batch.output.layout import SUCCESS_PATH
from rank1_batch.output.plan import write_plan
from rank1_batch.pairs.inputs import open_input
from rank1_batch.pairs.units import Unit
from rank1_batch.settings import load_config
from rank1_batch.storage.store import open_store, write_bytes

PASSAGE_WORDS = 80
FORMATS = "format=[tevatron,st_pairs,qrels]"


def main(argv: Sequence[str]) -> None:
    """Print a line for each number of rows."""
    print("| rows | units | input MB | labels MB | seconds | CPU seconds | peak MB |")
    print("|---|---|---|---|---|---|---|")
    for rows in [int(text) for text in argv] or [100_000, 1_000_000]:
        with tempfile.TemporaryDirectory() as folder:
            units = write_judged(Path(folder), rows)
            print(measure(Path(folder), rows, units), flush=True)


def write_judged(folder: Path, rows: int) -> int:
    """Write shards of pairs and the output of a finished job for them. Return its number of units."""
    words = [f"{a}{b}" for a in ("sto", "ri", "bir", "hou", "lam", "win") for b in ("ne", "ver", "d", "se", "p", "ter")]
    chance = random.Random(1)
    write_pairs(folder / "pairs", rows, lambda row: f"{row} {' '.join(chance.choices(words, k=PASSAGE_WORDS))}")
    config = load_config(
        [
            "model=custom",
            "model.name=none",
            "engine=scripted",
            f"input.path={folder}/pairs",
            f"output.path={folder}/judged",
        ]
    )
    store, files = open_input(config.input)
    units = plan_units(store, files, config.input).units
    output = open_store(config.output.path)
    claim_output(output, build_fingerprint(config))
    write_plan(output, units)
    numbers = np.random.default_rng(2)
    for unit in units:
        commit_unit(output, unit, make_judgments(unit, numbers), Counts(rows=unit.pairs, complete=unit.pairs))
    write_bytes(output, SUCCESS_PATH, b"")
    return len(units)


def make_judgments(unit: Unit, numbers: np.random.Generator) -> pa.Table:
    """Scores at both ends of the scale, and a trace of 1,000 letters a row."""
    first = int(Path(unit.path).stem)
    rows = range(unit.row_start, unit.row_stop)
    log_odds = numbers.normal(-2, 4, unit.pairs)
    score = 1 / (1 + np.exp(-log_odds))
    values = {
        "score": score,
        "true_logprob": np.log(score),
        "false_logprob": np.log1p(-score),
        "label": log_odds > 0,
        "finish": ["complete"] * unit.pairs,
        "trace": ["The passage speaks of something else. " * 26] * unit.pairs,
        "prompt_tokens": [150] * unit.pairs,
        "trace_tokens": [250] * unit.pairs,
        "passage_truncated": [False] * unit.pairs,
        "error": [None] * unit.pairs,
    }
    columns = {name: pa.array(values[name], kind) for name, kind in JUDGMENT_TYPES.items()}
    return pa.table(
        {
            QUERY_ID: [f"q{(first + row) // DEPTH}" for row in rows],
            DOC_ID: [f"d{first + row}" for row in rows],
            **columns,
            UNIT_ID: [unit.unit_id] * unit.pairs,
            ROW: pa.array(rows, pa.int64()),
            CANDIDATE: pa.nulls(unit.pairs, pa.int32()),
            FIRST_STAGE_RANK: pa.array([(first + row) % DEPTH + 1 for row in rows], pa.int64()),
        }
    )


def measure(folder: Path, rows: int, units: int) -> str:
    """Run the export job, and return a line of the table."""
    usage = run_job(
        "export", FORMATS, f"input.path={folder / 'pairs'}", f"output.path={folder / 'judged'}",
        f"labels.path={folder / 'labels'}", "labels.dev_share=0.05", "labels.margin=0.2",
    )  # fmt: skip
    sizes = [
        sum(file.stat().st_size for file in (folder / name).rglob("*") if file.is_file())
        for name in ("pairs", "labels")
    ]
    return (
        f"| {rows} | {units} | {sizes[0] / 1e6:.0f} | {sizes[1] / 1e6:.0f} | {usage.seconds:.0f} "
        f"| {usage.cpu_s:.0f} | {usage.peak_mb:.0f} |"
    )


if __name__ == "__main__":
    main(sys.argv[1:])

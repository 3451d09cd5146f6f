"""jobs.evaluate on a large run: seconds, CPU seconds, and peak memory of the whole process with its imports.

python -m benchmarks.evaluation [ROWS …]     default: 100000 1000000
"""

import gzip
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import DEPTH, run_job

GRADES = 20
"""How many candidates of a query have grades."""


def main(argv: Sequence[str]) -> None:
    """Print a line for each number of rows."""
    print("| rows | queries | seconds | of the CPU | peak MB |\n|---|---|---|---|---|")
    for rows in [int(text) for text in argv] or [100_000, 1_000_000]:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(Path(folder), rows), flush=True)


def measure(folder: Path, rows: int) -> str:
    """Measure a run whose first stage is the same run in reverse, and return a line of the table."""
    queries = rows // DEPTH
    for name, sign in (("run", -1), ("first", 1)):
        write_run(folder / f"{name}.trec.gz", queries, sign)
    lines = (f"query-{q} 0 document-{q * DEPTH + 3 * d} {d % 3}\n" for q in range(queries) for d in range(GRADES))
    (folder / "qrels.txt").write_text("".join(lines))
    settings = [f"run={folder}/run.trec.gz", f"first_stage={folder}/first.trec.gz", f"qrels={folder}/qrels.txt"]
    usage = run_job("evaluate", *settings)
    return f"| {rows} | {queries} | {usage.seconds:.1f} | {usage.cpu_s:.1f} | {usage.peak_mb:.0f} |"


def write_run(path: Path, queries: int, sign: int) -> None:
    """A TREC run in which all scores of a query differ."""
    with gzip.open(path, "wt", compresslevel=1) as file:
        for query in range(queries):
            for place in range(DEPTH):
                score = 10.0 + sign * place / 8
                file.write(f"query-{query} Q0 document-{query * DEPTH + place} {place + 1} {score} made\n")


if __name__ == "__main__":
    main(sys.argv[1:])

"""jobs.report on many judgments: seconds, CPU seconds and peak memory, by the number of rows.

    python -m benchmarks.report [ROWS …]     default: 100000 1000000

Judgments are made up and committed as a job would commit them: 100 candidates a query, and a trace of about 1,000
letters.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import run_job
from tests.support.site import write_many

SENTENCES = 15


def main(argv: Sequence[str]) -> None:
    """Print two lines for each number of rows: with all traces, and with those of the examples."""
    print("| rows | traces | report MB | files | seconds | CPU seconds | peak MB |")
    print("|---|---|---|---|---|---|---|")
    for rows in [int(text) for text in argv] or [100_000, 1_000_000]:
        with tempfile.TemporaryDirectory() as folder:
            write_many(Path(folder), rows, SENTENCES)
            for traces in ("all", "chosen"):
                print(measure(Path(folder), rows, traces), flush=True)


def measure(folder: Path, rows: int, traces: str) -> str:
    """Run the job, and return a line of the table."""
    place = folder / traces
    usage = run_job("report", f"output.path={folder}/judged", f"report.path={place}", f"traces={traces}")
    sizes = [file.stat().st_size for file in place.rglob("*") if file.is_file()]
    return (
        f"| {rows} | {traces} | {sum(sizes) / 1e6:.0f} | {len(sizes)} | {usage.seconds:.0f} "
        f"| {usage.cpu_s:.0f} | {usage.peak_mb:.0f} |"
    )


if __name__ == "__main__":
    main(sys.argv[1:])

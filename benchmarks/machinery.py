"""The machinery without a model: rows a second, and the memory of the driver and of a replica.

    python -m benchmarks.machinery [SHAPE:COUNT …]      default: rows:10000 rows:100000 rows:1000000

Shapes: `rows` are shards of 100,000 rows with passages of 60 letters. `files` have one row each. `group` is one file
that has all rows in a single row group, with passages of 350 letters.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.measuring import judge_scripted, make_pairs, write_pairs


def main(argv: Sequence[str]) -> None:
    """Print a line for each shape and count."""
    print("| input | units | plan s | judge s | rows/s | finish s | all s | driver's peak MB | replica's peak MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for shape in argv or ["rows:10000", "rows:100000", "rows:1000000"]:
        name, _, count = shape.partition(":")
        with tempfile.TemporaryDirectory() as folder:
            SHAPES[name](Path(folder) / "pairs", int(count))
            print(measure(Path(folder), shape), flush=True)


def write_rows(folder: Path, count: int) -> None:
    """Write this many rows into few files."""
    write_pairs(folder, count, lambda row: f"passage number {row} of this benchmark, sixty letters long")


def write_files(folder: Path, count: int) -> None:
    """Write this many files of one row each."""
    folder.mkdir()
    for row in range(count):
        pq.write_table(make_pairs(range(row, row + 1), write_long), folder / f"{row:06d}.parquet")


def write_group(folder: Path, count: int) -> None:
    """Write one file whose rows are one row group."""
    folder.mkdir()
    pq.write_table(make_pairs(range(count), write_long), folder / "all.parquet", row_group_size=count)


def write_long(row: int) -> str:
    """A passage of about 350 letters that no other row has."""
    return " ".join(f"{word}{row * 7919 % 104729}" for word in "abcdefghij" * 5)


def measure(folder: Path, shape: str) -> str:
    """Run the job with the scripted engine, and return a line of the table."""
    usage, summary = judge_scripted(folder)
    run = summary["this_run"]
    seconds = run["seconds"]
    return (
        f"| {shape} | {run['units']} | {seconds['plan']:.1f} | {seconds['judge']:.1f} | {run['rows_per_s']:.0f} "
        f"| {seconds['finish']:.1f} | {usage.seconds:.0f} | {usage.peak_mb:.0f} | {usage.replica_mb:.0f} |"
    )


SHAPES: dict[str, Callable[[Path, int], None]] = {"rows": write_rows, "files": write_files, "group": write_group}


if __name__ == "__main__":
    main(sys.argv[1:])

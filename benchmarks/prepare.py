"""Pair shards from a large corpus: seconds and peak memory of `jobs.prepare`.

    python -m benchmarks.prepare [PASSAGES] [PAIRS] [SETTING=VALUE …]      default: 1000000 100000

The corpus is JSONL (zstd) of random words, 55 a passage, as MS MARCO's passages have on average;
the run has 100 candidates a query, drawn from all passages.
"""

import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from benchmarks.measuring import DEPTH, run_job

WORDS = 55


def main(argv: Sequence[str]) -> None:
    """Write the sources, prepare them and print the figures."""
    settings = [argument for argument in argv if "=" in argument]
    sizes = [int(argument) for argument in argv if "=" not in argument]
    passages, pairs = sizes or (1_000_000, 100_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sources(folder, passages, pairs)
        size_mb = (folder / "corpus.jsonl.zst").stat().st_size / 1e6
        usage = run_job(
            "prepare", f"run={folder}/run.trec", f"queries={folder}/queries.tsv",
            f"corpus={folder}/corpus.jsonl.zst", f"output.path={folder}/pairs", *settings,
        )  # fmt: skip
    print(f"{passages} passages ({size_mb:.0f} MB), {pairs} pairs {' '.join(settings)}")
    print(f"{usage.seconds:.1f} s, {usage.cpu_s:.1f} s of CPU, peak {usage.peak_mb:.0f} MB")


def write_sources(folder: Path, passages: int, pairs: int) -> None:
    """Write corpus, queries and run, the same every time."""
    chance = random.Random(0)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(20_000)]
    text = chance.choices(words, k=1_000_000)
    with pa.CompressedOutputStream(str(folder / "corpus.jsonl.zst"), "zstd") as corpus:
        for number in range(passages):
            place = chance.randrange(len(text) - WORDS)
            passage = " ".join(text[place : place + WORDS])
            corpus.write(f'{{"_id": "{number}", "title": "", "text": "{passage}"}}\n'.encode())
    queries = range(pairs // DEPTH)
    (folder / "queries.tsv").write_text("".join(f"{query}\t{chance.choice(words)}\n" for query in queries))
    with (folder / "run.trec").open("w") as run:
        for query in queries:
            for rank, doc in enumerate(chance.sample(range(passages), DEPTH), 1):
                run.write(f"{query} Q0 {doc} {rank} {1 / rank:.6f} bench\n")


if __name__ == "__main__":
    main(sys.argv[1:])

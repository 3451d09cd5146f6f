"""Pair shards from a large corpus: seconds and peak memory of `jobs.prepare`.

    python benchmarks/prepare.py [PASSAGES] [PAIRS] [SETTING=VALUE …]      default: 1000000 100000

The corpus is JSONL (zstd) of random words, 55 a passage, as MS MARCO's passages have on average;
the run has 100 candidates a query, drawn from all passages.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

CANDIDATES = 100
WORDS = 55
ROOT = Path(__file__).parents[1]


def main(argv: Sequence[str]) -> None:
    """Write the sources, prepare them, say what it took."""
    settings = [argument for argument in argv if "=" in argument]
    sizes = [int(argument) for argument in argv if "=" not in argument]
    passages, pairs = sizes or (1_000_000, 100_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sources(folder, passages, pairs)
        size_mb = (folder / "corpus.jsonl.zst").stat().st_size / 1e6
        start = time.monotonic()
        job = subprocess.Popen(
            [
                sys.executable, "-m", "jobs.prepare", f"run={folder}/run.trec", f"queries={folder}/queries.tsv",
                f"corpus={folder}/corpus.jsonl.zst", f"output.path={folder}/pairs", *settings,
            ],
            cwd=ROOT,
        )  # fmt: skip
        _, status, usage = os.wait4(job.pid, 0)
        seconds = time.monotonic() - start
    if status:
        sys.exit("jobs.prepare failed")
    cpu = usage.ru_utime + usage.ru_stime
    print(f"{passages} passages ({size_mb:.0f} MB), {pairs} pairs {' '.join(settings)}")
    print(f"{seconds:.1f} s, {cpu:.1f} s of CPU, peak {usage.ru_maxrss / 1000:.0f} MB")


def write_sources(folder: Path, passages: int, pairs: int) -> None:
    """Corpus, queries and run; the same every time."""
    chance = random.Random(0)  # noqa: S311 # seeded chance, not secrets
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(20_000)]
    text = chance.choices(words, k=1_000_000)
    with pa.CompressedOutputStream(str(folder / "corpus.jsonl.zst"), "zstd") as corpus:
        for number in range(passages):
            place = chance.randrange(len(text) - WORDS)
            passage = " ".join(text[place : place + WORDS])
            corpus.write(f'{{"_id": "{number}", "title": "", "text": "{passage}"}}\n'.encode())
    queries = range(pairs // CANDIDATES)
    (folder / "queries.tsv").write_text("".join(f"{query}\t{chance.choice(words)}\n" for query in queries))
    with (folder / "run.trec").open("w") as run:
        for query in queries:
            for rank, doc in enumerate(chance.sample(range(passages), CANDIDATES), 1):
                run.write(f"{query} Q0 {doc} {rank} {1 / rank:.6f} bench\n")


if __name__ == "__main__":
    main(sys.argv[1:])

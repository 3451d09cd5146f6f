"""Judges every pair of the input: python -m jobs.rerank model=… input.path=… output.path=… ."""

import sys

from rank1_batch.__main__ import run
from rank1_batch.cli.command import end

if __name__ == "__main__":
    end(run(["rerank", *sys.argv[1:]]))

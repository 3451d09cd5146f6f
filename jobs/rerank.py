"""Judges every pair of the input: python -m jobs.rerank model=… input.path=… output.path=… ."""

import sys

from rank1_batch.cli.command import end
from rank1_batch.jobs.rerank.command import main

if __name__ == "__main__":
    end(main(sys.argv[1:]))

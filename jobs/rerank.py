"""Judges every pair of the input: python -m jobs.rerank model=… input.path=… output.path=… ."""

import sys

from rank1_batch.cli import main
from rank1_batch.command import end

if __name__ == "__main__":
    end(main(sys.argv[1:]))

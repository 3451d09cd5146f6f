"""Judges every pair of the input: python -m jobs.rerank model=… input.path=… output.path=… ."""

import sys

from rank1_batch.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

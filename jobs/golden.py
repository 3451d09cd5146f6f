"""Makes a golden set from a run: python -m jobs.golden input.path=… output.path=… golden.path=… ."""

import sys

from rank1_batch.__main__ import run
from rank1_batch.cli.command import end

if __name__ == "__main__":
    end(run(["golden", *sys.argv[1:]]))

"""Makes pair files: python -m jobs.prepare run=… queries=… corpus=… output.path=… ."""

import sys

from rank1_batch.__main__ import run
from rank1_batch.cli.command import end

if __name__ == "__main__":
    end(run(["prepare", *sys.argv[1:]]))

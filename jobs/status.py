"""Shows how far a job is, from its output alone: python -m jobs.status output.path=… ."""

import sys

from rank1_batch.__main__ import run
from rank1_batch.cli.command import end

if __name__ == "__main__":
    end(run(["status", *sys.argv[1:]]))

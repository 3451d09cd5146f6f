"""Measures a run or a job's output against people's grades: python -m jobs.evaluate run=… qrels=… ."""

import sys

from rank1_batch.__main__ import run
from rank1_batch.cli.command import end

if __name__ == "__main__":
    end(run(["evaluate", *sys.argv[1:]]))

"""Measures a run or a job's output by people's grades: python -m jobs.evaluate run=… qrels=… ."""

import sys

from rank1_batch.cli.command import end
from rank1_batch.jobs.evaluate.command import main

if __name__ == "__main__":
    end(main(sys.argv[1:]))

"""Measures a run or a job's output by people's grades: python -m jobs.evaluate run=… qrels=… ."""

import sys

from rank1_batch.command import end
from rank1_batch.evaluation.cli import main

if __name__ == "__main__":
    end(main(sys.argv[1:]))

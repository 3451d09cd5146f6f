"""Tells how far a job is, from its output alone: python -m jobs.status output.path=… ."""

import sys

from rank1_batch.cli.command import end
from rank1_batch.jobs.status.command import main

if __name__ == "__main__":
    end(main(sys.argv[1:]))

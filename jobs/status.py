"""Tells how far a job is, from its output alone: python -m jobs.status output.path=… ."""

import sys

from rank1_batch.command import end
from rank1_batch.status_cli import main

if __name__ == "__main__":
    end(main(sys.argv[1:]))

"""Judges chosen rows again: python -m jobs.redo output.path=… where="finish = 'closed'" policy.… ."""

import sys

from rank1_batch.cli.command import end
from rank1_batch.jobs.redo.command import main

if __name__ == "__main__":
    end(main(sys.argv[1:]))

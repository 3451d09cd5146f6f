"""Judges chosen rows again: python -m jobs.redo output.path=… where="finish = 'closed'" policy.… ."""

import sys

from rank1_batch.__main__ import run
from rank1_batch.cli.command import end

if __name__ == "__main__":
    end(run(["redo", *sys.argv[1:]]))

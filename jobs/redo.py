"""Judges chosen rows again: python -m jobs.redo output.path=… where="finish = 'closed'" policy.… ."""

import sys

from rank1_batch.cli import main_redo
from rank1_batch.command import end

if __name__ == "__main__":
    end(main_redo(sys.argv[1:]))

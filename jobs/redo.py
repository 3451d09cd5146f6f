"""Judges chosen rows again: python -m jobs.redo output.path=… where="finish = 'closed'" policy.… ."""

import sys

from rank1_batch.cli import main_redo

if __name__ == "__main__":
    sys.exit(main_redo(sys.argv[1:]))

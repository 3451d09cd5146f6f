"""Makes a golden set of a run: python -m jobs.golden input.path=… output.path=… golden.path=… ."""

import sys

from rank1_batch.cli.command import end
from rank1_batch.jobs.golden.command import main

if __name__ == "__main__":
    end(main(sys.argv[1:]))

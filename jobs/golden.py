"""Makes a golden set of a run: python -m jobs.golden input.path=… output.path=… golden.path=… ."""

import sys

from rank1_batch.command import end
from rank1_batch.golden_maker import main

if __name__ == "__main__":
    end(main(sys.argv[1:]))

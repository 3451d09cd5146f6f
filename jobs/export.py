"""Makes training data out of judgments: python -m jobs.export output.path=… labels.path=… format=… ."""

import sys

from rank1_batch.__main__ import run
from rank1_batch.cli.command import end

if __name__ == "__main__":
    end(run(["export", *sys.argv[1:]]))

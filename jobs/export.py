"""Makes training data out of judgments: python -m jobs.export output.path=… labels.path=… format=… ."""

import sys

from rank1_batch.cli.command import end
from rank1_batch.jobs.export.command import main

if __name__ == "__main__":
    end(main(sys.argv[1:]))

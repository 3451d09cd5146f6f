"""Makes pair shards of a run, queries and a corpus: python -m jobs.prepare run=… queries=… corpus=… output.path=… ."""

import sys

from rank1_batch.cli.command import end
from rank1_batch.jobs.prepare.command import main

if __name__ == "__main__":
    end(main(sys.argv[1:]))

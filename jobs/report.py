"""Writes a report that opens in a browser: python -m jobs.report output.path=… report.path=… ."""

import sys

from rank1_batch.__main__ import run
from rank1_batch.cli.command import end

if __name__ == "__main__":
    end(run(["report", *sys.argv[1:]]))

"""The main job on bundled data with a toy model, and what came of it: make demo."""

import sys

from rank1_batch.command import end
from rank1_batch.demo import main

if __name__ == "__main__":
    end(main(sys.argv[1:]))

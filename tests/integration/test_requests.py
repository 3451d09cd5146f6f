"""A slice of the campaign of requests (benchmarks/faults/requests.py): killed, frozen or ended at some of them.

In a process of its own, since it forks: threads of this one would be missing in its forks.
"""

import json
import subprocess
import sys

from tests.support.paths import ROOT

EVERY = "11"


def test_killed_frozen_or_ended_at_a_request_a_job_claims_nothing_that_is_not_so() -> None:
    command = [sys.executable, "-m", "benchmarks.faults.requests", "--every", EVERY, "--first", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tried = json.loads(done.stdout)["tried"]
    assert tried.keys() == {f"{trial} {job}" for trial in ("kill", "freeze", "term") for job in ("rerank", "redo")}
    assert min(tried.values()) >= 5

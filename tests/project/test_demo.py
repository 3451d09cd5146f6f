"""The demo says what it will do, and is honest about what it found."""

import subprocess
import sys

from examples.demo import describe_quality
from rank1_batch.measuring.comparison import Comparison
from tests.support.paths import ROOT


def test_help_is_a_short_text_and_runs_nothing() -> None:
    done = subprocess.run([sys.executable, "examples/demo.py", "--help"], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.decode().startswith("usage: python examples/demo.py")
    assert not done.stderr


def test_the_last_lines_have_both_figures_and_no_p_value() -> None:
    text = describe_quality(Comparison(value=0.41234, first_stage=0.64666, p_value=0.03))
    assert "0.65 in Google's order, 0.41 by this 135M toy" in text
    assert "0.03" not in text

"""The demo says what it will do, and is honest about what it found."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from examples.demo import PAIRS, describe_quality, write_report
from rank1_batch.measuring.comparison import Comparison
from tests.support.paths import ROOT
from tests.support.scripted import judge_here


def test_help_is_a_short_text_and_runs_nothing() -> None:
    done = subprocess.run([sys.executable, "examples/demo.py", "--help"], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.decode().startswith("usage: python examples/demo.py")
    assert not done.stderr


def test_the_last_lines_have_both_figures_and_no_p_value() -> None:
    text = describe_quality(Comparison(value=0.41234, first_stage=0.64666, p_value=0.03))
    assert "0.65 in Google's order, 0.41 by this 135M toy" in text
    assert "0.03" not in text


def test_it_ends_with_a_report_beside_the_output_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    judge_here(f"input.path={PAIRS}/part-0.parquet", f"output.path={tmp_path}/judged")
    assert write_report(Console(file=io.StringIO()), [f"output.path={tmp_path}/judged"]) == 0
    assert f"open {tmp_path}/judged_report/index.html" in capfd.readouterr().out
    assert "8 queries were measured" in (tmp_path / "judged_report" / "index.html").read_text()

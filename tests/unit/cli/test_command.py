"""The command line that all jobs share."""

import subprocess
import sys
from collections.abc import Sequence

import pytest
from rich.console import Console

from rank1_batch.cli.command import INTERRUPTED, Job, run_command
from rank1_batch.errors import StorageError
from rank1_batch.settings import RerankConfig, check_config
from tests.support.paths import ROOT

PATHS = ("input.path=pairs", "output.path=judged")


def start(argv: Sequence[str], raised: BaseException | None = None) -> int:
    def run(config: RerankConfig, console: Console) -> int:
        console.print(f"reading {config.input.path}")
        if raised:
            raise raised
        return 3

    return run_command(Job("rerank", "Judges.", RerankConfig, check_config), argv, run)


def test_the_exit_code_is_the_jobs(capfd: pytest.CaptureFixture[str]) -> None:
    assert start(PATHS) == 3
    assert capfd.readouterr().out == "reading pairs\n"


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_runs_nothing(flag: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert start([flag]) == 0
    assert capfd.readouterr().out.startswith(
        "usage: rank1-batch rerank [--help | --settings] SETTING=VALUE …\n\nJudges.\n"
    )


def test_settings_are_printed_as_they_would_be_and_nothing_runs(capfd: pytest.CaptureFixture[str]) -> None:
    assert start(["--settings", "policy=no_think", *PATHS]) == 0
    assert "path: pairs" in capfd.readouterr().out


def test_an_error_of_ours_is_a_sentence_and_its_exit_code(capfd: pytest.CaptureFixture[str]) -> None:
    assert start(PATHS, StorageError("s3://bucket: no answer")) == StorageError.exit_code
    assert capfd.readouterr().err == "error: s3://bucket: no answer\n"


def test_wrong_settings_run_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert start(["modle=x", *PATHS]) == 2
    assert capfd.readouterr().out == ""


def test_an_interrupt_says_that_the_same_command_resumes(capfd: pytest.CaptureFixture[str]) -> None:
    assert start(PATHS, KeyboardInterrupt()) == INTERRUPTED
    assert "run the same command to resume" in capfd.readouterr().err


def test_a_process_ends_with_what_it_said_and_its_exit_code_and_without_the_interpreters_own_end() -> None:
    """There, a thread of Arrow's that lets go of a Python object would abort the process."""
    script = """
import atexit
from rank1_batch.cli.command import end

atexit.register(print, "the interpreter's end")
print("all rows are judged")
end(6)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (6, "all rows are judged\n", "")

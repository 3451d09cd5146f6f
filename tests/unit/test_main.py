"""`rank1-batch`: the list of jobs, the version, and mistyped names. The jobs themselves are typed elsewhere."""

import importlib
import os
import subprocess
import sys
from dataclasses import is_dataclass
from importlib.metadata import version

import pytest

from rank1_batch.__main__ import JOBS, WRONG_USE, run
from rank1_batch.cli.choices import find_conf_folder
from rank1_batch.cli.fields import list_settings
from tests.support.paths import ROOT


def test_every_job_has_a_line_a_launcher_a_room_and_a_file_of_settings() -> None:
    rooms = {folder.parent.name for folder in (ROOT / "rank1_batch" / "jobs").glob("*/__init__.py")}
    launchers = {file.stem for file in (ROOT / "jobs").glob("*.py")} - {"__init__"}
    settings = {file.stem for file in find_conf_folder().glob("*.yaml")}
    assert set(JOBS) == rooms == launchers == settings


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_without_a_job_the_jobs_are_listed(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for name, phrase in JOBS.items():
        assert any(line.split(maxsplit=1) == [name, phrase] for line in lines)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"rank1-batch {version('rank1-batch')}\n"


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("rerunk", "error: rerunk is not a job. Did you mean rerank? The jobs are prepare, rerank, "),
        ("model=rank1_7b", "error: model=rank1_7b is not a job. The jobs are "),
    ],
)
def test_a_mistyped_job_gets_the_nearest_name(typed: str, answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([typed]) == WRONG_USE
    assert capsys.readouterr().err.startswith(answer)


def test_the_other_arguments_go_to_the_job(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--settings", "output.path=judged"]) == 0
    assert "path: judged" in capfd.readouterr().out


def test_a_module_of_the_same_name_starts_a_job_from_a_checkout() -> None:
    command = [sys.executable, "-m", "jobs.status", "--settings", "output.path=judged"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "path: judged" in done.stdout


def test_a_job_gives_back_the_memory_that_arrow_frees() -> None:
    """Arrow's own allocator would keep it, which a driver of many rows shows."""
    script = "import rank1_batch.__main__, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.decode().strip() == "system"


HEAVY = ("duckdb", "fsspec", "hydra", "ir_measures", "numpy", "pyarrow", "ray", "scipy", "sklearn", "torch", "vllm")


@pytest.mark.parametrize("job", JOBS)
def test_help_is_answered_without_heavy_packages(job: str) -> None:
    """They take seconds where their files are not yet in the machine's cache."""
    script = "import sys; from rank1_batch.__main__ import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", script, job, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: rank1-batch {job} ")
    assert not set(HEAVY) & set(done.stderr.split())


@pytest.mark.parametrize("job", JOBS)
def test_help_shows_every_setting_with_a_phrase_in_eighty_columns(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([job, "--help"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    schema = importlib.import_module(f"rank1_batch.jobs.{job}.settings").JOB.schema
    for setting in list_settings(schema()):
        assert setting.phrase, setting.key
        assert is_dataclass(setting.default) or f"  {setting.key}" in shown


@pytest.mark.parametrize("job", JOBS)
def test_the_help_of_a_job_is_the_same_from_its_own_command_line(job: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([job, "--help"]) == 0
    shown = capfd.readouterr().out
    assert importlib.import_module(f"rank1_batch.jobs.{job}.command").main(["--help"]) == 0
    assert capfd.readouterr().out == shown

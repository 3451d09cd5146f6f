"""The same checks run everywhere: by hand, before a commit and in public CI."""

import re
import tomllib
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
FORMS = sorted(path.name for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")


def read_yaml(path: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / path).read_text(encoding="utf-8")))


def read_job() -> dict[str, Any]:
    return dict(read_yaml(".github/workflows/ci.yml")["jobs"]["test"])


def needs(target: str) -> list[str]:
    """The targets that make runs before this one."""
    (line,) = re.findall(rf"^{target}:(.*?)(?:##.*)?$", MAKEFILE, re.MULTILINE)
    return str(line).split()


def recipe(target: str) -> str:
    """The commands of a target."""
    (commands,) = re.findall(rf"^{target}:.*\n((?:\t.*\n?)+)", MAKEFILE, re.MULTILINE)
    return str(commands)


def test_public_ci_runs_what_people_run() -> None:
    (command,) = [step["run"] for step in read_job()["steps"] if "run" in step]
    assert command.endswith(" make test")
    assert "check" in needs("test")


def test_public_ci_tests_each_python_from_the_oldest_on() -> None:
    versions = read_job()["strategy"]["matrix"]["python"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert versions == ["3.11", "3.12", "3.13"]
    assert project["requires-python"] == f">={versions[0]}"


def test_public_ci_gives_setup_the_python_of_the_matrix() -> None:
    (step,) = [step for step in read_job()["steps"] if "run" in step]
    assert "PYTHON=python${{ matrix.python }} " in step["run"]
    assert "python=${PYTHON:-" in (ROOT / "tools" / "setup.sh").read_text(encoding="utf-8")


def test_public_ci_has_no_secrets_and_pins_its_actions() -> None:
    assert "secrets." not in (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    assert read_yaml(".github/workflows/ci.yml")["permissions"] == {"contents": "read"}
    assert all(re.search(r"@[0-9a-f]{40}$", step["uses"]) for step in read_job()["steps"] if "uses" in step)


def test_a_commit_runs_the_checks_of_the_makefile() -> None:
    (repository,) = read_yaml(".pre-commit-config.yaml")["repos"]
    (hook,) = repository["hooks"]
    assert (repository["repo"], hook["entry"], hook["pass_filenames"]) == ("local", "make check", False)
    for tool in ("ruff check", "ruff format --check", "mypy", "lint-imports"):
        assert f".venv/bin/{tool}" in recipe("check")


def test_unit_needs_no_model() -> None:
    assert needs("unit") == ["setup"]
    assert "tests/unit tests/contracts tests/project" in recipe("unit")


def test_the_citation_names_the_version_and_the_paper() -> None:
    citation = read_yaml("CITATION.cff")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (paper,) = citation["references"]
    assert citation["cff-version"] == "1.2.0"
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert paper["url"] == "https://arxiv.org/abs/2502.18418"
    assert len(paper["authors"]) == 6


@pytest.mark.parametrize("form", FORMS)
def test_a_form_asks_for_something(form: str) -> None:
    read = read_yaml(f".github/ISSUE_TEMPLATE/{form}")
    assert {"name", "description", "body"} <= read.keys()
    assert all(field["attributes"]["label"] for field in read["body"])
    assert any(field.get("validations", {}).get("required") for field in read["body"])

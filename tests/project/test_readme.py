"""Every command that the docs show can be typed, every link leads somewhere, every file that they name is there."""

import re
import shlex
from pathlib import Path

import pytest

from rank1_batch.cli.compose import compose_settings
from rank1_batch.jobs.evaluate.settings import EvaluateConfig
from rank1_batch.jobs.export.settings import ExportConfig
from rank1_batch.jobs.golden.settings import GoldenMakerConfig
from rank1_batch.jobs.prepare.settings import PrepareConfig
from rank1_batch.jobs.report.settings import ReportJobConfig
from rank1_batch.jobs.status.settings import StatusConfig
from rank1_batch.settings import load_config
from tests.support.paths import ROOT

FOLDERS = ("docs", "examples", "tools", "tests", "benchmarks")

PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])

TEXTS = {page: page.read_text() for page in PAGES}

COMMAND = re.compile(r"^(?:\$ )?python -m jobs\.(\w+) ((?:.*\\\n)*.*?)(?:\s+#.*)?$", re.MULTILINE)
"""A line that starts a job, and those that continue it."""

COMMANDS = sorted({(job, text.replace("\\\n", "")) for page in PAGES for job, text in COMMAND.findall(TEXTS[page])})

OTHER_JOBS: dict[str, type] = {
    "prepare": PrepareConfig,
    "status": StatusConfig,
    "evaluate": EvaluateConfig,
    "report": ReportJobConfig,
    "export": ExportConfig,
    "golden": GoldenMakerConfig,
}

LINKS = sorted({(page, link) for page in PAGES for link in re.findall(r"\]\((?!http)([^)\s]+)\)", TEXTS[page])})

NAMING_FILES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]

FILES = sorted({name for page in NAMING_FILES for name in re.findall(r"`([a-z_]+/[\w/]+\.(?:py|yaml))`", TEXTS[page])})

PATHS = ["input.path=s3://bucket/pairs", "output.path=s3://bucket/judged"]


def test_there_are_commands_links_and_files() -> None:
    assert {job for job, _ in COMMANDS} >= {"rerank", "redo", *OTHER_JOBS}
    assert LINKS
    assert FILES


@pytest.mark.parametrize("command", [command for job, command in COMMANDS if job == "rerank"])
def test_a_command_of_the_docs_has_settings_that_work(command: str) -> None:
    missing = [path for path in PATHS if path.split("=")[0] not in command]
    load_config([*split_settings(command), *missing])


@pytest.mark.parametrize(("job", "command"), [one for one in COMMANDS if one[0] in OTHER_JOBS])
def test_a_command_of_another_job_names_settings_that_there_are(job: str, command: str) -> None:
    compose_settings(split_settings(command), job, OTHER_JOBS[job])


@pytest.mark.parametrize(("page", "link"), LINKS, ids=[f"{page.name}-{link}" for page, link in LINKS])
def test_a_link_leads_somewhere(page: Path, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    assert target.exists()
    assert not anchor or anchor in list_anchors(target)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_this_repository_that_a_page_names_is_there(name: str) -> None:
    assert any((ROOT / folder / name).exists() for folder in ("", "rank1_batch", "tests"))


def split_settings(command: str) -> list[str]:
    """The words after the job's name; `…` and a flag stand for no setting."""
    return [word for word in shlex.split(command) if word != "…" and not word.startswith("--")]


def list_anchors(page: Path) -> set[str]:
    """The anchors that GitHub and the site make of the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

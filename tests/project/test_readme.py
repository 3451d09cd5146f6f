"""Every command that the docs show can be typed, and every link leads somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from rank1_batch.settings import load_config
from tests.support.paths import ROOT

FOLDERS = ("docs", "examples", "tools", "tests", "benchmarks")

PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])

TEXTS = {page: page.read_text() for page in PAGES}

COMMANDS = sorted(
    {
        command
        for text in TEXTS.values()
        for command in re.findall(r"^python -m jobs\.rerank ((?:.*\\\n)*.*?)(?:\s+#.*)?$", text, re.MULTILINE)
    }
)

LINKS = sorted({(page, link) for page in PAGES for link in re.findall(r"\]\((?!http)([^)\s]+)\)", TEXTS[page])})

FILES = sorted(
    {
        name
        for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for name in re.findall(r"`([a-z_]+/[\w/]+\.(?:py|yaml))`", TEXTS[page])
    }
)
"""What stands in code marks and looks like a file of this repository."""

OF_A_USER = {"my/prompt.yaml"}

PATHS = ["input.path=s3://bucket/pairs", "output.path=s3://bucket/judged"]


def test_there_are_commands_and_links() -> None:
    assert len(COMMANDS) >= len(["the main one", "some more"])
    assert len(LINKS) >= len(["docs", "and their parts"])


@pytest.mark.parametrize("command", [command for command in COMMANDS if not command.startswith("--")])
def test_a_command_of_the_docs_has_settings_that_work(command: str) -> None:
    settings = [word for word in shlex.split(command) if word != "…"]
    missing = [path for path in PATHS if path.split("=")[0] not in command]
    load_config([*settings, *missing])


@pytest.mark.parametrize(("page", "link"), LINKS, ids=[f"{page.name}-{link}" for page, link in LINKS])
def test_a_link_leads_somewhere(page: Path, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    assert target.exists()
    assert not anchor or anchor in list_anchors(target)


@pytest.mark.parametrize("name", [name for name in FILES if name not in OF_A_USER])
def test_a_file_of_this_repository_that_a_page_names_is_there(name: str) -> None:
    assert any((ROOT / folder / name).exists() for folder in ("", "rank1_batch", "tests"))


def list_anchors(page: Path) -> set[str]:
    """The anchors that GitHub and the site make of the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

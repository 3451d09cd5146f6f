"""Every command that the README shows can be typed."""

import re
import shlex

import pytest

from rank1_batch.settings import load_config
from tests.support.paths import ROOT

TEXT = (ROOT / "README.md").read_text() + (ROOT / "docs" / "configuration.md").read_text()
COMMANDS = re.findall(r"^python -m jobs\.rerank (.*?)(?:\s+#.*)?$", TEXT, re.MULTILINE)
PATHS = ["input.path=s3://bucket/pairs", "output.path=s3://bucket/judged"]


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= len(["the main one", "some more"])


@pytest.mark.parametrize("command", [command for command in COMMANDS if not command.startswith("--")])
def test_a_command_of_the_readme_has_settings_that_work(command: str) -> None:
    settings = [word for word in shlex.split(command) if word != "…"]
    missing = [path for path in PATHS if path.split("=")[0] not in command]
    load_config([*settings, *missing])


@pytest.mark.parametrize("path", re.findall(r"\]\(((?!http)[^)#]+)\)|`(deploy/[^`]+)`", TEXT))
def test_a_link_leads_somewhere(path: tuple[str, str]) -> None:
    assert (ROOT / "".join(path)).exists() or (ROOT / "docs" / "".join(path)).exists()

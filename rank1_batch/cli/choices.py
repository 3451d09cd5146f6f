"""The choices under `conf/`: a folder for each group, a YAML file for each choice."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml


class Model(NamedTuple):
    """A choice of `conf/model`: its checkpoint, and the memory that its file states ("" if it states none)."""

    name: str
    checkpoint: str
    weights: str
    gpu: str


def find_conf_folder() -> Path:
    """The folder of choices: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).parents[1]
    return next(folder for folder in (package.parent / "conf", package / "conf") if folder.is_dir())


def list_choices() -> dict[str, list[str]]:
    """The groups under `conf/` and the choices of each."""
    groups = sorted(folder for folder in find_conf_folder().iterdir() if folder.is_dir())
    return {group.name: sorted(file.stem for file in group.glob("*.yaml")) for group in groups}


def list_models() -> Iterator[Model]:
    """Every choice of `conf/model`, with the size of its weights and the smallest GPU that holds a full row."""
    for name in list_choices()["model"]:
        text = (find_conf_folder() / "model" / f"{name}.yaml").read_text(encoding="utf-8")
        checkpoint = str(yaml.safe_load(text)["name"])
        weights = re.match(r"# .*?(\d+\.\d GB)", text)
        gpu = re.search(r"^# (\d+ GB) \(", text, re.MULTILINE)
        # Other names are folders of one machine, or the user must give them.
        known = checkpoint if re.fullmatch(r"[\w.-]+/[\w.-]+", checkpoint) else ""
        yield Model(name, known, weights[1] if weights else "", gpu[1] if gpu else "")

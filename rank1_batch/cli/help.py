"""The text of `--help`: how to start a job, its settings by group with a phrase each, and the models."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from enum import Enum
from typing import Any, NamedTuple, get_origin

import yaml
from omegaconf import MISSING

from rank1_batch.cli.choices import Model, find_conf_folder, list_choices, list_models
from rank1_batch.cli.fields import Setting, list_settings

WIDTH = 80

MODEL = "model"

NOTES = """\
A setting with * must be given. The default of a setting stands in brackets.
--settings shows all settings of a command, and starts nothing."""


MODELS_HEADING = """\
models: the checkpoint, the size of its weights, and the smallest GPU that holds
them and a row of full length"""

MODELS_NOTE = """\
model=custom model.name=… takes any other checkpoint or a folder. demo and
demo_full are a toy for CPUs, which `make demo` builds."""


class Group(NamedTuple):
    """Settings that are listed together: a heading, and the name and phrase of each."""

    heading: str
    rows: list[tuple[str, str]]


def render_help(name: str, about: str, defaults: Any) -> str:
    """The help of the job of that name. `defaults` is an instance of its settings."""
    chosen = _read_choices(name)
    parts = [f"usage: rank1-batch {name} [--help | --settings] SETTING=VALUE …", about.strip(), NOTES]
    parts += [_render_group(group) for group in _list_groups(defaults, chosen)]
    if MODEL in chosen:
        parts.append(_render_models())
    return "\n\n".join(parts)


def _read_choices(name: str) -> Mapping[str, str]:
    """The default choice of each group."""
    node = yaml.safe_load((find_conf_folder() / f"{name}.yaml").read_text(encoding="utf-8"))
    return {group: choice for each in node["defaults"] if isinstance(each, dict) for group, choice in each.items()}


def _list_groups(defaults: Any, chosen: Mapping[str, str]) -> Iterator[Group]:
    """The settings that have no group, then each group."""
    found = list(list_settings(defaults))
    heads = {each.key: each.phrase for each in found if is_dataclass(each.default)}
    for head in ("", *heads):
        own = [each for each in found if each.key.rpartition(".")[0] == head and each.key not in heads]
        rows = [_choices_row(head, chosen[head])] if head in chosen else []
        rows += [_row(each, chosen) for each in own]
        if head or rows:
            yield Group(f"{head}: {heads[head]}" if head else "settings", rows)


def _choices_row(group: str, default: str) -> tuple[str, str]:
    names = "one of the models below" if group == MODEL else ", ".join(list_choices()[group])
    return f"{group}=NAME", f"{names}; or a YAML file of your own [{default}]"


def _row(setting: Setting, chosen: Mapping[str, str]) -> tuple[str, str]:
    group = setting.key.partition(".")[0]
    key = f"{setting.key}.NAME" if get_origin(setting.type) is dict else setting.key
    if setting.default == MISSING:
        return (key if group in chosen else f"{key} *"), setting.phrase
    # A choice of a model brings its own values.
    default = "" if group == MODEL and MODEL in chosen else _render_default(setting.default)
    return key, f"{setting.phrase} [{default}]" if default else setting.phrase


def _render_default(value: Any) -> str:
    """A default as it would be typed. Empty for defaults that mean "none"."""
    if value is None or value in ({}, []):
        return ""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return (
        str(value).lower()
        if isinstance(value, bool | Enum)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _render_group(group: Group) -> str:
    column = max((len(name) for name, _ in group.rows), default=0) + 4
    lines = [_render_row(name, phrase, column) for name, phrase in group.rows]
    return "\n".join([group.heading, *lines])


def _render_row(name: str, phrase: str, column: int) -> str:
    return textwrap.fill(
        phrase,
        WIDTH,
        initial_indent=f"  {name}".ljust(column),
        subsequent_indent=" " * column,
        break_on_hyphens=False,
    )


def _render_models() -> str:
    """The checkpoints as a table, small ones first."""
    known = sorted(
        (model for model in list_models() if model.checkpoint), key=lambda model: float(model.weights.split()[0])
    )
    return "\n".join([MODELS_HEADING, *map(_render_model, known), MODELS_NOTE])


def _render_model(model: Model) -> str:
    return f"  {model.name:<26} {model.checkpoint:<35} {model.weights:>7} {model.gpu:>5}"

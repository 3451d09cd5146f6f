"""Typed settings of any job: Hydra composes `conf/` and the command line into a dataclass.

The settings of a job are a dataclass of plain values and of groups, which are dataclasses too. A file
`conf/<job>.yaml` extends it. All problems are reported at once, each in one sentence. A choice is a file under
`conf/`, or a YAML file of the user: `prompt=my/prompt.yaml`.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, get_origin

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rank1_batch.cli.choices import find_conf_folder, list_choices
from rank1_batch.cli.fields import list_settings
from rank1_batch.cli.typed import Typed, escape_text, read_member, read_typed, suggest
from rank1_batch.errors import SettingsError

T = TypeVar("T")

OWN_CHOICE = "file_of_your_own"
"""The name that Hydra gets for a YAML file of the user."""

NUMBERS = {"Integer": "a whole number", "Float": "a number"}
"""OmegaConf's names of types, in plain words."""


def load_settings(
    overrides: Sequence[str],
    job: str,
    schema: type[T],
    check: Callable[[T], list[str]],
    restore: Callable[[DictConfig, Sequence[str]], DictConfig] | None = None,
) -> T:
    """The settings of a job for a list of Hydra overrides.

    `check` returns one sentence for each problem. `restore` fills in what another run recorded. Raises SettingsError
    with every problem found.
    """
    config = compose_settings(overrides, job, schema)
    if restore is not None:
        # Once more, because OmegaConf takes ${ in a text for a reference when it copies the text.
        config = _put_texts(restore(config, overrides), read_typed(overrides, schema), schema)
    with _naming_own_files(overrides):
        settings = _build_settings(config, schema)
        if not isinstance(settings, schema):
            raise TypeError(f"conf/{job}.yaml does not extend {schema.__name__}")
        problems = check(settings)
        if problems:
            raise SettingsError(problems)
        return settings


def compose_settings(overrides: Sequence[str], job: str, schema: type[Any]) -> DictConfig:
    """The composed settings before they are checked. Raises SettingsError for a word, key or choice that is wrong."""
    ConfigStore.instance().store(name=f"{job}_schema", node=schema)
    typed = read_typed(overrides, schema)
    _store_own_files(overrides, schema)
    with _naming_own_files(overrides):
        config = _compose([_hydra_override(text, schema) for text in typed.words], job, schema)
        # A plus sign adds a key that no dataclass has. No code would read it.
        unknown = [_explain_key(key, schema) for key in _find_unknown_keys(config, schema)]
        if unknown:
            raise SettingsError(unknown)
        return _put_texts(config, typed, schema)


def _compose(overrides: Sequence[str], job: str, schema: type[Any]) -> DictConfig:
    try:
        with initialize_config_dir(str(find_conf_folder()), version_base="1.3"):
            return compose(job, overrides=list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError([_explain(error, schema)]) from error


def _put_texts(config: DictConfig, typed: Typed, schema: type[Any]) -> DictConfig:
    """The settings with texts as they were typed."""
    try:
        for key, text in typed.texts:
            OmegaConf.update(config, key, escape_text(text), merge=False, force_add=True)
    except OmegaConfBaseException as error:
        raise SettingsError([_explain(error, schema)]) from error
    return config


def _build_settings(config: DictConfig, schema: type[Any]) -> Any:
    """The settings as a dataclass. Raises SettingsError if one is missing or refers to an unknown one."""
    try:
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise SettingsError([f"{key} must be given: {key}=…" for key in missing])
        return OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise SettingsError([_explain(error, schema)]) from error


def _find_own_files(overrides: Sequence[str]) -> dict[str, Path]:
    """The YAML files that a user names as choices, by group."""
    named = (text.partition("=") for text in overrides)
    groups = list_choices()
    return {group: Path(path) for group, _, path in named if group in groups and path.endswith((".yaml", ".yml"))}


def _store_own_files(overrides: Sequence[str], schema: type[Any]) -> None:
    """Give the YAML files of the user to Hydra. Raises SettingsError with the problem of each."""
    problems = []
    for group, path in _find_own_files(overrides).items():
        try:
            node = yaml.safe_load(path.expanduser().read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            problems.append(f"{group}={path}: cannot be read: {' '.join(str(error).split())}")
            continue
        if isinstance(node, dict):
            ConfigStore.instance().store(group=group, name=OWN_CHOICE, node=_name_members(node, group, schema))
        else:
            problems.append(f"{group}={path}: must hold settings, one a line, as the files in conf/{group} do")
    if problems:
        raise SettingsError(problems)


def _name_members(node: dict[str, Any], group: str, schema: type[Any]) -> dict[str, Any]:
    """A choice with its enumerations by name, the only form that OmegaConf reads."""
    groups = _groups(schema)
    kinds = {each.name: each.type for each in fields(groups[group])} if group in groups else {}
    enums = {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Enum)}
    return {**node, **{name: read_member(kind, str(node[name])) for name, kind in enums.items() if name in node}}


@contextlib.contextmanager
def _naming_own_files(overrides: Sequence[str]) -> Iterator[None]:
    """Add the name of the user's file to the problems of its group."""
    try:
        yield
    except SettingsError as error:
        problems = error.problems
        for group, path in _find_own_files(overrides).items():
            named = [text.replace(f"{group}/{OWN_CHOICE}", str(path)) for text in problems]
            problems = [f"{text} (in {path})" if text.startswith(f"{group}.") else text for text in named]
        raise SettingsError(problems) from error


def _hydra_override(override: str, schema: type[Any]) -> str:
    """An override in the form that Hydra reads."""
    if own := _find_own_files([override]):
        return f"{next(iter(own))}={OWN_CHOICE}"
    return _open(override, schema)


def _open(override: str, schema: type[Any]) -> str:
    """Add the plus sign that Hydra wants before a new key of a mapping."""
    mappings = [each.key for each in list_settings(schema()) if get_origin(each.type) is dict]
    return (
        f"++{override}" if override.startswith(tuple(f"{key}{end}" for key in mappings for end in ".=")) else override
    )


def _find_unknown_keys(config: DictConfig, schema: type[Any], prefix: str = "") -> list[str]:
    """Keys of the composed settings that the schema does not have."""
    # Sets, because `in` says no for a key whose value is MISSING.
    unknown = [f"{prefix}{key}" for key in set(config) - set(OmegaConf.structured(schema))]
    for group, kind in _groups(schema).items():
        unknown += _find_unknown_keys(config[group], kind, f"{prefix}{group}.")
    return sorted(unknown)


def _groups(schema: type[Any]) -> Mapping[str, Any]:
    return {field.name: field.type for field in fields(schema) if is_dataclass(field.type)}


def _explain(error: Exception, schema: type[Any]) -> str:
    """Hydra's message in one sentence, with the nearest right word where a word was mistyped."""
    # The reason is in OmegaConf's own error, which Hydra keeps as the cause.
    text = f"{error}\n{error.__cause__ or ''}".strip()
    choice = re.search(r"Could not find '(\w+)/([^']+)'", text)
    if choice and choice[1] in list_choices():
        return _explain_choice(choice[1], choice[2])
    if isinstance(error, OverrideParseException):
        word = error.override.lstrip("+")
        return f"{word}: cannot be read; put quotes around a value with = , or blanks: 'key=\"a=b\"'"
    full = re.search(r"full_key: (\S+)", text)
    if full and re.search(r"Key '[^']+' (?:is )?not in", text):
        return _explain_key(full[1], schema)
    lines = [line for line in str(error.__cause__ or error).split("\n") if not line.endswith("while composing config:")]
    reason = lines[0].strip()
    return _explain_value(full[1], reason) if full else " ".join(reason.split())


def _explain_choice(group: str, name: str) -> str:
    names = list_choices()[group]
    other = f", and model=custom model.name={name} takes any other" if group == "model" and "/" in name else ""
    return f"{group}={name}: no such choice{suggest(name, names)}; there are {', '.join(names)}{other}"


def _explain_value(key: str, reason: str) -> str:
    """A value of the wrong type, in plain words."""
    if found := re.match(r"Value (.*) of type '\w+' could not be converted to (\w+)", reason):
        return f"{key} is {found[1]}, but must be {NUMBERS.get(found[2], found[2])}"
    if found := re.match(r"Value (.*) is not a valid bool", reason):
        return f"{key} is {found[1]}, but must be true or false"
    if found := re.match(r"Invalid value (.*), expected one of \[(.*)\]", reason):
        return f"{key} is {found[1]}, but must be one of {found[2].lower()}"
    if re.match(r"Invalid type assigned|Cannot assign", reason):
        return f"{key} holds settings of its own: type {key}.NAME=VALUE"
    return f"{key}: {reason}"


def _explain_key(key: str, schema: type[Any]) -> str:
    full = [each.key for each in list_settings(schema())]
    nearest = suggest(key, full) if "." in key else suggest(key, sorted({name.rpartition(".")[2] for name in full}))
    return f"{key}: no such setting{nearest}"

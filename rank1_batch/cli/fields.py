"""Settings are fields of dataclasses, each with the phrase that `--help` shows for it."""

from collections.abc import Iterator
from dataclasses import Field, field, fields, is_dataclass
from typing import Any, NamedTuple

from omegaconf import MISSING

HELP = "help"


class Setting(NamedTuple):
    """A setting: its name as typed (`engine.gpus`), type, default (MISSING if it has none) and phrase."""

    key: str
    type: Any
    default: Any
    phrase: str


def setting(phrase: str, default: Any = MISSING) -> Any:
    """A field with a phrase for `--help`. A default that is called, say `list`, makes a new value each time."""
    metadata = {HELP: phrase}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def list_settings(settings: Any, prefix: str = "") -> Iterator[Setting]:
    """All settings of a dataclass, given as an instance with its defaults. A group comes before its settings."""
    for each in fields(settings):
        found = Setting(f"{prefix}{each.name}", each.type, getattr(settings, each.name), _phrase(each))
        yield found
        if is_dataclass(found.default):
            yield from list_settings(found.default, f"{found.key}.")


def _phrase(each: "Field[Any]") -> str:
    return str(each.metadata.get(HELP, ""))

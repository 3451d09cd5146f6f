"""Reads what a person types before Hydra does: finds words that are not settings, and keeps text as it is.

Hydra's grammar gives a meaning to `=`, commas, brackets, blanks, quotes, `~` and more, but paths can contain them.
So Hydra never sees the settings that hold text or a list of texts.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import accumulate
from typing import Any, NamedTuple

from omegaconf import MISSING

from rank1_batch.cli.choices import list_choices
from rank1_batch.cli.fields import Setting, list_settings
from rank1_batch.errors import SettingsError

FLAGS = ("--help", "--settings")

Text = str | list[str] | None

ELEMENT = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^,]*?))\s*,""")
"""An element of a list and the comma after it. An element with a comma in it stands in quotes."""


class Typed(NamedTuple):
    """The settings in the order typed: texts with their keys, and the words for Hydra."""

    texts: list[tuple[str, Text]]
    words: list[str]


def read_typed(words: Sequence[str], schema: type[Any]) -> Typed:
    """Split the words of a command line. Raises SettingsError with a sentence for each word that is not a setting."""
    known = {each.key: each for each in list_settings(schema())}
    problems = [problem for word in words if (problem := _find_problem(word, known))]
    if problems:
        raise SettingsError(problems)
    typed = Typed([], [])
    for word in words:
        key, value = _split(word)
        if (kind := _text_kind(key, known)) is not None:
            typed.texts.append((key, _read_text(value, kind)))
        else:
            typed.words.append(_name_member(word, known))
    return typed


def escape_text(text: Text) -> Text:
    """The text for OmegaConf, escaped so that `${…}` in it is not replaced by another setting."""
    if isinstance(text, list):
        return [str(escape_text(element)) for element in text]
    if text is None or "${" not in text:
        return text
    return re.sub(r"(\\*)\$\{", lambda found: f"{found[1] * 2}\\${{", text)


def read_member(kind: type[Enum], text: str) -> str:
    """The name of the member with this name or value, in any case. The text itself if there is none."""
    names = {str(spelling).lower(): member.name for member in kind for spelling in (member.name, member.value)}
    return names.get(text.lower(), text)


def suggest(word: str, words: Sequence[str]) -> str:
    """The nearest of these words, as the end of a sentence. Empty if none is near."""
    close = difflib.get_close_matches(word, words, n=1)
    return f", did you mean {close[0]}?" if close else ""


def _split(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key.lstrip("+"), value


def _text_kind(key: str, known: Mapping[str, Setting]) -> Setting | None:
    """The setting of that key if it holds text or a list of texts. Keys of a mapping are free."""
    if setting := known.get(key):
        return setting if setting.type in (str, str | None, list[str], Any) else None
    parent = known.get(key.rpartition(".")[0])
    is_mapping = parent is not None and parent.type == dict[str, str]
    return Setting(key, str, "", "") if is_mapping else None


def _read_text(value: str, setting: Setting) -> Text:
    if value == "null" and setting.default is None:
        return None
    if setting.type in (Any, list[str]) and _is_list(value):
        inside = value[1:-1].strip()
        return ["".join(element) for element in ELEMENT.findall(f"{inside},")] if inside else []
    return [value] if setting.type == list[str] else value


def _is_list(value: str) -> bool:
    """Whether the first bracket closes at the end. `[a,b]` is a list, and the glob `[0-9][0-9]` is not."""
    depths = list(accumulate((character == "[") - (character == "]") for character in value))
    return value.startswith("[") and depths.index(0) == len(depths) - 1 if 0 in depths else False


def _name_member(word: str, known: Mapping[str, Setting]) -> str:
    """A word whose value is an enumeration, by its name."""
    key, value = _split(word)
    return f"{key}={read_member(known[key].type, value)}" if _is_enum(key, known) else word


def _is_enum(key: str, known: Mapping[str, Setting]) -> bool:
    return key in known and isinstance(known[key].type, type) and issubclass(known[key].type, Enum)


def _find_problem(word: str, known: Mapping[str, Setting]) -> str | None:
    """Why a word is not a setting, in one sentence. None if it is one."""
    key, value = _split(word)
    if word.startswith("-"):
        return _explain_dashes(word, known)
    if not key or "=" not in word:
        return _explain_bare(word, known)
    if _is_enum(key, known) and read_member(known[key].type, value) not in known[key].type.__members__:
        return f"{key} is {value!r}, but must be one of {', '.join(known[key].type)}"
    return _explain_value(word, known)


def _explain_value(word: str, known: Mapping[str, Setting]) -> str | None:
    key, value = _split(word)
    setting = _text_kind(key, known)
    text = setting and _read_text(value, setting)
    if key.startswith("hydra."):
        return f"{key}: no such setting"
    if not value and key in known:
        return f"{word} is empty: give it a value, or leave it out"
    if isinstance(text, list) and "" in text:
        return f"{word}: an element of the list is empty"
    if value == MISSING:
        return f"{word} means no value at all: for files of that pattern, type {key}=./{MISSING}"
    return None


def _explain_dashes(word: str, known: Mapping[str, Setting]) -> str:
    name = word.lstrip("-")
    if "=" in name:
        return f"{word}: settings have no dashes, type {name}"
    if name in known:
        return f"{word}: settings have no dashes, type {name}=VALUE"
    hint = suggest(word, FLAGS) or f"; there are {' and '.join(FLAGS)}"
    return f"{word} is not an option{hint}"


def _explain_bare(word: str, known: Mapping[str, Setting]) -> str:
    if word in known:
        return f"{word} has no value: type {word}=VALUE"
    if groups := [group for group, names in list_choices().items() if word in names and group in known]:
        return f"{word} is not a setting: type {groups[0]}={word}"
    hint = suggest(word, FLAGS) or "; type NAME=VALUE, with quotes around a value that has blanks"
    return f"{word} is not a setting{hint}"

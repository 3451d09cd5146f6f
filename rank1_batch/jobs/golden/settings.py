"""Moved here."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

MOST_PAIRS = 256


@dataclass
class GivenInput:
    """The input that was judged: one path or several, as it was given then."""

    path: Any = MISSING


@dataclass
class GivenPath:
    """A path that must be given."""

    path: str = MISSING


@dataclass
class GoldenMakerConfig:
    """All settings of `jobs.golden`."""

    input: GivenInput = field(default_factory=GivenInput)
    output: GivenPath = field(default_factory=GivenPath)
    golden: GivenPath = field(default_factory=GivenPath)
    pairs: int = 16


def check_golden_maker(config: GoldenMakerConfig) -> list[str]:
    """What is wrong with the settings, one sentence a problem."""
    if not 1 <= config.pairs <= MOST_PAIRS:
        return [f"pairs is {config.pairs}, but must be between 1 and {MOST_PAIRS}"]
    return []

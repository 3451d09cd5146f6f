"""Moved here."""

from dataclasses import dataclass, field

from omegaconf import MISSING

FORMATS = ("table", "json")


@dataclass
class StatusOutput:
    """Where the job's output is."""

    path: str = MISSING


@dataclass
class StatusConfig:
    """All settings of `jobs.status`."""

    output: StatusOutput = field(default_factory=StatusOutput)
    format: str = "table"


def check_config(config: StatusConfig) -> list[str]:
    """What is wrong with the settings, one sentence a problem."""
    return [] if config.format in FORMATS else [f"format is {config.format!r}, but must be one of {', '.join(FORMATS)}"]

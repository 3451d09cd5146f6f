"""The settings of `jobs.golden`, and what is checked before anything is read."""

from dataclasses import dataclass
from typing import Any

from rank1_batch.cli.command import Job
from rank1_batch.cli.fields import setting

MOST_PAIRS = 256


@dataclass
class GivenInput:
    """The input that was judged: one path or several, as it was given then."""

    path: Any = setting("the pairs that the run judged")


@dataclass
class GivenPath:
    """The output of the run."""

    path: str = setting("what the run wrote")


@dataclass
class NewPath:
    """A file that is not there yet."""

    path: str = setting("a new file; one that exists is never written over")


@dataclass
class GoldenMakerConfig:
    """All settings of `jobs.golden`."""

    input: GivenInput = setting("the pairs", GivenInput)
    output: GivenPath = setting("a finished rerank job", GivenPath)
    golden: NewPath = setting("the golden set", NewPath)
    pairs: int = setting("how many pairs", 16)


def check_golden_maker(config: GoldenMakerConfig) -> list[str]:
    """What is wrong with the settings, one sentence a problem."""
    if not 1 <= config.pairs <= MOST_PAIRS:
        return [f"pairs is {config.pairs}, but must be between 1 and {MOST_PAIRS}"]
    return []


JOB = Job(
    "golden",
    """\
Picks a few pairs of a finished run with their reasoning and scores. Every
replica of a later rerank job judges them before it works (golden.path=…). The
pairs cover the full range of scores and have short traces.

  rank1-batch golden input.path=s3://bucket/pairs \\
    output.path=s3://bucket/judged golden.path=golden.parquet
""",
    GoldenMakerConfig,
    check_golden_maker,
)

"""The settings of `jobs.prepare`, and the checks made before anything is read."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from omegaconf import MISSING

from rank1_batch.collection.sources import RunFormat, list_paths
from rank1_batch.columns import DOC_ID, INSTRUCTION, PASSAGE, QUERY, QUERY_ID, RANK, SCORE, TITLE


class OnProblem(StrEnum):
    """What happens to a pair without text: it is left out, kept (the judge gives it an error), or ends the job."""

    LEAVE_OUT = "leave_out"
    KEEP = "keep"
    FAIL = "fail"


@dataclass
class ShardsConfig:
    """Where shards are written, and about how many pairs each has. A query is never split."""

    path: str = MISSING
    shard_rows: int = 32_768


@dataclass
class PrepareConfig:
    """All settings of `jobs.prepare`. A source is a path or a list of paths: files, folders, globs, `ir_datasets:ID`.

    `*_columns` map our name of a column to the file's. `scratch` is a folder for data that does not
    fit into `memory_gb`. None means the system's temporary folder.
    """

    run: Any = MISSING
    queries: Any = MISSING
    corpus: Any = MISSING
    instructions: Any = None
    run_format: str = "auto"
    depth: int | None = None
    run_columns: dict[str, str] = field(default_factory=dict)
    queries_columns: dict[str, str] = field(default_factory=dict)
    corpus_columns: dict[str, str] = field(default_factory=dict)
    on_problem: str = "leave_out"
    memory_gb: float = 4.0
    scratch: str | None = None
    output: ShardsConfig = field(default_factory=ShardsConfig)


COLUMNS = {
    "run_columns": (QUERY_ID, DOC_ID, SCORE, RANK),
    "queries_columns": (QUERY_ID, QUERY, INSTRUCTION),
    "corpus_columns": (DOC_ID, PASSAGE, TITLE),
}
"""The names that each mapping can have."""

LEAST_MEMORY_GB = 0.25


def check_config(config: PrepareConfig) -> list[str]:
    """What is wrong with the settings, one sentence for each problem. Empty if they are right."""
    problems = []
    for name in ("run", "queries", "corpus", "instructions"):
        value = getattr(config, name)
        if not list_paths(value) and not (name == "instructions" and value is None):
            problems.append(f"{name} must be a path or a list of paths")
    for name, choices in (("run_format", RunFormat), ("on_problem", OnProblem)):
        if (value := getattr(config, name)) not in list(choices):
            problems.append(f"{name} is {value!r}, but must be one of {', '.join(choices)}")
    return problems + _check_columns(config) + _check_numbers(config)


def shaping_settings(config: PrepareConfig) -> dict[str, Any]:
    """The settings, apart from the sources, that can change what is in a shard."""
    names = ("run_format", "depth", *COLUMNS, "on_problem")
    return {name: asdict(config)[name] for name in names} | {"shard_rows": config.output.shard_rows}


def _check_columns(config: PrepareConfig) -> list[str]:
    problems = []
    for name, known in COLUMNS.items():
        mapping: dict[str, str] = getattr(config, name)
        unknown = [key for key in mapping if key not in known]
        problems += [f"{name}.{key}: no such column; there are {', '.join(known)}" for key in unknown]
        twice = [column for column, times in Counter(mapping.values()).items() if times > 1]
        problems += [f"{name}: two columns are mapped to {column}; map each to its own" for column in twice]
    return problems


def _check_numbers(config: PrepareConfig) -> list[str]:
    problems = []
    if config.depth is not None and config.depth < 1:
        problems.append(f"depth is {config.depth}, but must be at least 1")
    if config.output.shard_rows < 1:
        problems.append(f"output.shard_rows is {config.output.shard_rows}, but must be at least 1")
    if config.memory_gb < LEAST_MEMORY_GB:
        problems.append(f"memory_gb is {config.memory_gb:g}, but must be at least {LEAST_MEMORY_GB:g}")
    return problems

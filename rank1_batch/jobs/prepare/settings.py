"""The settings of `jobs.prepare`, and the checks made before anything is read."""

from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from rank1_batch.cli.command import Job
from rank1_batch.cli.fields import setting
from rank1_batch.columns import DOC_ID, INSTRUCTION, PASSAGE, QUERY, QUERY_ID, RANK, SCORE, TITLE


class OnProblem(StrEnum):
    """What happens to a pair without text: it is left out, kept (the judge gives it an error), or ends the job."""

    LEAVE_OUT = "leave_out"
    KEEP = "keep"
    FAIL = "fail"


class OnBrokenLine(StrEnum):
    """What happens if a line of a source cannot be read: the job ends, or goes on without it."""

    FAIL = "fail"
    SKIP = "skip"


@dataclass
class ShardsConfig:
    """Where shards are written, and about how many pairs each has. A query is never split."""

    path: str = setting("an empty folder, or the output of this same job")
    shard_rows: int = setting("pairs in a file, about; a query is never cut", 32_768)


@dataclass
class PrepareConfig:
    """All settings of `jobs.prepare`. A source is a path or a list of paths: files, folders, globs, `ir_datasets:ID`.

    `*_columns` map our name of a column to the file's. `scratch` is a folder for data that does not
    fit into `memory_gb`. None means the system's temporary folder.
    """

    run: Any = setting("TREC, TSV, score.json or Parquet; also .gz, .bz2, .zst")
    queries: Any = setting("a folder like BEIR's, JSONL, TSV (query_id, text) or Parquet")
    corpus: Any = setting("the same with passages")
    instructions: Any = setting("file of query_id and instruction, if the queries have none", None)
    run_format: str = setting("auto, trec, tsv_score, tsv_rank, json or parquet", "auto")
    depth: int | None = setting("candidates of a query, the best; null takes all", None)
    exclude: Any = setting("documents that may not be ranked for a query: JSONL, Parquet or TSV", None)
    drop_identical_ids: bool = setting("no document with the id of its query (ArguAna, Quora, FiQA)", default=False)
    sample: int | None = setting("so many queries, chosen by seed; null takes all", None)
    seed: int = setting("seed of the sample", 0)
    run_columns: dict[str, str] = setting("name of a column in your file: run_columns.score=s", dict)
    queries_columns: dict[str, str] = setting("the same: queries_columns.query_id=qid", dict)
    corpus_columns: dict[str, str] = setting("the same: corpus_columns.passage=body", dict)
    on_problem: str = setting("pairs without text: leave_out, keep (as error rows) or fail", "leave_out")
    on_broken_line: str = setting("lines that cannot be read: fail, or skip (counted and listed)", "fail")
    memory_gb: float = setting("memory for the join; the process needs some 0.3 GB more", 4.0)
    scratch: str | None = setting("folder for what does not fit into memory", None)
    output: ShardsConfig = setting("the pair files", ShardsConfig)


SOURCE_COLUMNS = {
    "run_columns": (QUERY_ID, DOC_ID, SCORE, RANK),
    "queries_columns": (QUERY_ID, QUERY, INSTRUCTION),
    "corpus_columns": (DOC_ID, PASSAGE, TITLE),
}
"""The names that each mapping can have."""

LEAST_MEMORY_GB = 0.25


def check_config(config: PrepareConfig) -> list[str]:
    """What is wrong with the settings, one sentence for each problem. Empty if they are right."""
    from rank1_batch.collection.sources import RunFormat, list_paths

    problems = []
    for name in ("run", "queries", "corpus", "instructions", "exclude"):
        value = getattr(config, name)
        if not list_paths(value) and not (name in ("instructions", "exclude") and value is None):
            problems.append(f"{name} must be a path or a list of paths")
    for name, choices in (("run_format", RunFormat), ("on_problem", OnProblem), ("on_broken_line", OnBrokenLine)):
        if (value := getattr(config, name)) not in list(choices):
            problems.append(f"{name} is {value!r}, but must be one of {', '.join(choices)}")
    return problems + _check_columns(config) + _check_numbers(config)


def shaping_settings(config: PrepareConfig) -> dict[str, Any]:
    """The settings, apart from the sources, that can change what is in a shard."""
    names = (
        "run_format",
        "depth",
        "drop_identical_ids",
        "sample",
        "seed",
        *SOURCE_COLUMNS,
        "on_problem",
        "on_broken_line",
    )
    return {name: asdict(config)[name] for name in names} | {"shard_rows": config.output.shard_rows}


def _check_columns(config: PrepareConfig) -> list[str]:
    problems = []
    for name, known in SOURCE_COLUMNS.items():
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
    if config.sample is not None and config.sample < 1:
        problems.append(f"sample is {config.sample}, but must be at least 1")
    if config.output.shard_rows < 1:
        problems.append(f"output.shard_rows is {config.output.shard_rows}, but must be at least 1")
    if config.memory_gb < LEAST_MEMORY_GB:
        problems.append(f"memory_gb is {config.memory_gb:g}, but must be at least {LEAST_MEMORY_GB:g}")
    return problems


JOB = Job(
    "prepare",
    """\
Makes the pair files that rerank reads from a first-stage run, its queries and
its corpus. Each source is a file, folder, glob or list [a,b], on disk or in a
store (s3://, gs://). run, queries and corpus may also be ir_datasets:ID.

  rank1-batch prepare run=bm25.trec.gz queries=beir/scifact \\
    corpus=beir/scifact output.path=s3://bucket/pairs
""",
    PrepareConfig,
    check_config,
)

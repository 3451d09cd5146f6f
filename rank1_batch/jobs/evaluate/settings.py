"""The settings of `jobs.evaluate`, and the checks made before anything is read."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from rank1_batch.collection.sources import RunFormat
from rank1_batch.jobs.evaluate.measures import check_measures

DEFAULT_MEASURES = ("nDCG@10", "AP", "RR@10", "P@10", "R@100", "Judged@10")

MISSING_QUERIES = ("zero", "leave_out")

OUTPUT_FORMATS = ("table", "json")

RUN_FORMATS = tuple(form.value for form in RunFormat)


@dataclass
class JudgedConfig:
    """The output of a job of `jobs.rerank`."""

    path: str | None = None


@dataclass
class ChangedConfig:
    """The run and the grades after the instructions changed, for p-MRR. The query ids must be the same."""

    run: Any = None
    qrels: Any = None


@dataclass
class ReportConfig:
    """A folder for evaluation.json and per_query.parquet; None writes nothing."""

    path: str | None = None


@dataclass
class EvaluateConfig:
    """All settings of `jobs.evaluate`.

    `run`, `first_stage` and `changed.run` are run files or a job's output. `output.path` is also a
    job's output. `missing_queries` decides whether queries with grades but no candidates count as 0
    (`zero`) or are left out (`leave_out`).
    """

    run: Any = None
    qrels: Any = MISSING
    output: JudgedConfig = field(default_factory=JudgedConfig)
    first_stage: Any = None
    run_format: str = "auto"
    measures: list[str] = field(default_factory=lambda: list(DEFAULT_MEASURES))
    missing_queries: str = "zero"
    relevance_threshold: int = 1
    changed: ChangedConfig = field(default_factory=ChangedConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    format: str = "table"


def check_config(config: EvaluateConfig) -> list[str]:
    """What is wrong with the settings, one sentence for each problem. Empty if they are right."""
    problems = check_measures(config.measures)
    if not config.measures:
        problems.append("measures is empty; name at least one, as in measures=[nDCG@10,AP]")
    if (config.run is None) == (config.output.path is None):
        problems.append("give either run=… (a run file) or output.path=… (what jobs.rerank wrote)")
    if (config.changed.run is None) != (config.changed.qrels is None):
        problems.append("changed.run and changed.qrels must be given together: p-MRR needs both")
    for name, known in (("missing_queries", MISSING_QUERIES), ("format", OUTPUT_FORMATS), ("run_format", RUN_FORMATS)):
        if getattr(config, name) not in known:
            problems.append(f"{name} is {getattr(config, name)!r}, but must be one of {', '.join(known)}")
    return problems


def ranking_source(config: EvaluateConfig) -> tuple[str, Any]:
    """The setting that names the order to measure, and its value."""
    return ("run", config.run) if config.run is not None else ("output.path", config.output.path)

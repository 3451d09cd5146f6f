"""The settings of `jobs.evaluate`, and the checks made before anything is read."""

import re
from dataclasses import dataclass
from typing import Any

from rank1_batch.cli.command import Job
from rank1_batch.cli.fields import setting

DEFAULT_MEASURES = ("nDCG@10", "AP", "RR@10", "P@10", "R@100", "Judged@10")

MISSING_QUERIES = ("zero", "leave_out")

OUTPUT_FORMATS = ("table", "json")


@dataclass
class MeasuredConfig:
    """The output of a job of `jobs.rerank`."""

    path: str | None = setting("the output of a rerank job, in place of run", None)


@dataclass
class ChangedConfig:
    """The run and the grades after the instructions changed, for p-MRR. The query ids must be the same.

    `documents` is a list of the documents that the change made irrelevant. Without it they follow from the grades.
    """

    run: Any = setting("the run then; query ids as before, or with -changed", None)
    qrels: Any = setting("the grades then", None)
    documents: Any = setting("changed documents by query, in place of those that grades show", None)


@dataclass
class ReportConfig:
    """A folder for evaluation.json and per_query.parquet; None writes nothing."""

    path: str | None = setting("folder for evaluation.json and per_query.parquet", None)


@dataclass
class EvaluateConfig:
    """All settings of `jobs.evaluate`.

    `run`, `first_stage` and `changed.run` are run files or a job's output. `output.path` is also a
    job's output. `named_qrels` stand in place of `qrels`: each is measured apart. `missing_queries`
    decides whether queries with grades but no candidates count as 0 (`zero`) or are left out (`leave_out`).
    """

    run: Any = setting("a run (TREC, TSV, score.json, Parquet; also .gz, .zst), or several", None)
    qrels: Any = setting("people's grades: TREC, BEIR's TSV, Parquet, ir_datasets:ID", None)
    named_qrels: dict[str, str] = setting("several, measured apart: named_qrels.dl19=qrels.txt", dict)
    output: MeasuredConfig = setting("what a rerank job wrote", MeasuredConfig)
    first_stage: Any = setting("a run to compare with; a rerank job has its own", None)
    run_format: str = setting("auto, trec, tsv_score, tsv_rank, json or parquet", "auto")
    measures: list[str] = setting("any measures of ir-measures", lambda: list(DEFAULT_MEASURES))
    queries: str | None = setting("measure only queries in whose id this regular expression is found", None)
    group_by: str | None = setting("one value for all queries in whose id this finds the same", None)
    aggregate: str = setting("that value: mean, min, or all (1 if all are 1)", "mean")
    missing_queries: str = setting("graded queries without candidates: zero or leave_out", "zero")
    relevance_threshold: int = setting("smallest grade that is relevant, for labels and p-MRR", 1)
    changed: ChangedConfig = setting("the same after instructions changed, for p-MRR", ChangedConfig)
    report: ReportConfig = setting("files with all figures", ReportConfig)
    format: str = setting("table, or json", "table")


def check_config(config: EvaluateConfig) -> list[str]:
    """What is wrong with the settings, one sentence for each problem. Empty if they are right."""
    from rank1_batch.collection.sources import RunFormat
    from rank1_batch.jobs.evaluate.groups import Aggregate
    from rank1_batch.measuring.measures import check_measures

    problems = check_measures(config.measures)
    if not config.measures:
        problems.append("measures is empty; name at least one, as in measures=[nDCG@10,AP]")
    if (config.run is None) == (config.output.path is None):
        problems.append("give either run=… (a run file) or output.path=… (what jobs.rerank wrote)")
    problems += _check_changed(config.changed) + _check_patterns(config)
    if (config.qrels is None) == (not config.named_qrels):
        problems.append("give either qrels=… (people's grades) or named_qrels.NAME=… for each of several")
    for name, known in (
        ("missing_queries", MISSING_QUERIES),
        ("format", OUTPUT_FORMATS),
        ("run_format", [*RunFormat]),
        ("aggregate", [*Aggregate]),
    ):
        if getattr(config, name) not in known:
            problems.append(f"{name} is {getattr(config, name)!r}, but must be one of {', '.join(known)}")
    return problems


def _check_changed(changed: ChangedConfig) -> list[str]:
    if changed.run is None and changed.qrels is not None:
        return ["changed.run and changed.qrels must be given together: p-MRR needs both"]
    if changed.run is not None and changed.qrels is None and changed.documents is None:
        return ["changed.run and changed.qrels (or changed.documents) must be given together: p-MRR needs both"]
    return []


def _check_patterns(config: EvaluateConfig) -> list[str]:
    problems = []
    for name in ("queries", "group_by"):
        try:
            re.compile(getattr(config, name) or "")
        except re.error as error:
            problems.append(f"{name} is no regular expression: {error}")
    if config.group_by is None and config.aggregate != "mean":
        problems.append(f"aggregate={config.aggregate} needs group_by, which says what the groups are")
    return problems


def ranking_source(config: EvaluateConfig) -> tuple[str, Any]:
    """The setting that names the order to measure, and its value."""
    return ("run", config.run) if config.run is not None else ("output.path", config.output.path)


JOB = Job(
    "evaluate",
    """\
Measures a run, or the output of a rerank job, against people's grades.

  rank1-batch evaluate output.path=s3://bucket/judged qrels=qrels.txt
  rank1-batch evaluate run=reranked.trec.gz first_stage=bm25.trec.gz \\
    qrels=beir/qrels/test.tsv

Groups of queries, as in NevIR (both queries of a pair must be right):

  rank1-batch evaluate output.path=judged qrels=qrels.txt \\
    measures=[P@1] 'group_by=^(.+)_q[12]$' aggregate=all

missing_queries=zero is trec_eval -c: a graded query without candidates counts
as 0. p-MRR needs changed.run and changed.qrels, or query ids that end in -og
and -changed.
""",
    EvaluateConfig,
    check_config,
)

"""The settings of `jobs.report`, and the checks made before anything is read."""

from dataclasses import dataclass
from typing import Any

from rank1_batch.cli.command import Job
from rank1_batch.cli.fields import setting
from rank1_batch.settings import InputConfig, input_paths, lies_inside

SHOWN_MEASURES = ("nDCG@10", "AP", "RR@10", "P@10", "R@100", "Judged@10")

ALL_TRACES, CHOSEN_TRACES = TRACES = ("all", "chosen")

ZERO, LEAVE_OUT = WITHOUT_CANDIDATES = ("zero", "leave_out")


@dataclass
class ReportedOutput:
    """The output of a job of `jobs.rerank`, finished or not."""

    path: str = setting("what a rerank job wrote, or is writing")


@dataclass
class ReportedInput:
    """Where the pairs are. None takes the place where the job read them."""

    path: Any = setting("where the pairs are; by default where the job read them", None)


@dataclass
class ReportPlace:
    """The folder of the report."""

    path: str = setting("folder for the report: an empty one, or an earlier report of this output")


@dataclass
class ReportJobConfig:
    """All settings of `jobs.report`.

    `missing_queries` decides whether queries with grades but no candidates count as 0 (`zero`) or are left
    out (`leave_out`). While the job is not finished they are always left out.
    """

    output: ReportedOutput = setting("the job to report on", ReportedOutput)
    input: ReportedInput = setting("the texts of queries and passages", ReportedInput)
    report: ReportPlace = setting("where the report goes", ReportPlace)
    qrels: Any = setting("people's grades: TREC, BEIR's TSV, Parquet", None)
    traces: str = setting("all, or chosen: copy texts and traces of the examples only", ALL_TRACES)
    dry_run: bool = setting("say how large the report would be, and write nothing", default=False)
    measures: list[str] = setting("any measures of ir-measures", lambda: list(SHOWN_MEASURES))
    missing_queries: str = setting("graded queries without candidates: zero or leave_out", ZERO)
    relevance_threshold: int = setting("smallest grade that is relevant", 1)


def check_report(config: ReportJobConfig) -> list[str]:
    """What is wrong with the settings, one sentence for each problem. Empty if they are right."""
    from rank1_batch.measuring.measures import check_measures

    problems = check_measures(config.measures)
    if not config.measures:
        problems.append("measures is empty; name at least one, as in measures=[nDCG@10,AP]")
    for name, known in (("traces", TRACES), ("missing_queries", WITHOUT_CANDIDATES)):
        if getattr(config, name) not in known:
            problems.append(f"{name} is {getattr(config, name)!r}, but must be one of {', '.join(known)}")
    if lies_inside(config.report.path, config.output.path):
        problems.append("report.path lies inside output.path: choose a folder beside it")
    if config.input.path is not None:
        inside = [path for path in _paths(config) if lies_inside(config.report.path, path)]
        problems += [f"report.path lies inside the input {path}" for path in inside]
    return problems


def _paths(config: ReportJobConfig) -> list[str]:
    return input_paths(InputConfig(path=config.input.path))


JOB = Job(
    "report",
    """\
Writes a report of an output, finished or not: a folder that opens in a browser,
from disk, from a bucket and from any web server. It needs no cluster and no
model.

  rank1-batch report output.path=s3://bucket/judged report.path=report
  rank1-batch report output.path=judged report.path=report qrels=qrels.txt

Open report/index.html. traces=chosen makes it small: figures of all rows, and
the texts of the examples only. dry_run=true says how large it would be.
""",
    ReportJobConfig,
    check_report,
)

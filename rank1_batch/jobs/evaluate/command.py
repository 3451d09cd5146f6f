"""The command line of `jobs.evaluate`: settings in; a table or JSON, and an exit code out."""

import json
from collections.abc import Sequence

from rich.console import Console

from rank1_batch.cli.command import Job, run_command
from rank1_batch.cli.console import print_lines
from rank1_batch.jobs.evaluate.job import run_evaluation
from rank1_batch.jobs.evaluate.report import Evaluation, build_json, build_lines, build_table
from rank1_batch.jobs.evaluate.settings import EvaluateConfig, check_config

USAGE = """\
usage: python -m jobs.evaluate [--help | --settings] SETTING=VALUE …

Measures a run, or what jobs.rerank wrote, by people's grades.

  python -m jobs.evaluate output.path=s3://bucket/judged qrels=qrels.txt
  python -m jobs.evaluate run=reranked.trec.gz first_stage=bm25.trec.gz qrels=beir/qrels/test.tsv

run, output.path     a run (TREC, TSV, score.json, Parquet; .gz, .zst), or a job's output
qrels                grades: TREC, BEIR's TSV, Parquet
first_stage          a run beside it; a job's output has its own
measures             [nDCG@10,AP,RR@10,P@10,R@100,Judged@10], or any of ir-measures: 'measures=["AP(rel=2)"]'
missing_queries      zero: graded queries without candidates count 0 (trec_eval -c); leave_out
relevance_threshold  1: the least grade that is relevant, for labels and p-MRR
changed.run, .qrels  run and grades after instructions changed, for p-MRR; or query ids in -og and -changed
report.path          a folder for evaluation.json and per_query.parquet
format               table or json
run_format           auto, or trec, tsv_score, tsv_rank, json, parquet

--settings prints all settings as they would be, and starts nothing.
"""

JOB = Job("evaluate", USAGE)


def main(argv: Sequence[str]) -> int:
    """Run `jobs.evaluate` with these arguments; the exit code (docs/exit-codes.md lists them)."""
    return run_command(JOB, argv, EvaluateConfig, check_config, run)


def run(config: EvaluateConfig, console: Console) -> int:
    """Evaluate, and say what was found; the exit code."""
    found = run_evaluation(config)
    if config.format == "json":
        console.out(json.dumps(build_json(found), indent=2), highlight=False)
    else:
        print_evaluation(found, console)
    return 0


def print_evaluation(found: Evaluation, console: Console) -> None:
    """The measures, and below them what a person wants to know beside them."""
    console.print(build_table(found))
    console.print()
    print_lines(build_lines(found), console)

"""What `python -m jobs.evaluate` prints; `integration/test_evaluate.py` types it."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from rank1_batch.jobs.evaluate.command import main, print_evaluation
from rank1_batch.jobs.evaluate.instructions import InstructionScore
from rank1_batch.jobs.evaluate.report import Evaluation, Queries
from rank1_batch.measuring.agreement import Agreement
from rank1_batch.measuring.comparison import Comparison
from tests.support.paths import DATA

DATA = DATA / "trec_eval"
TREC_EVAL = (f"run={DATA}/results.test", f"qrels={DATA}/qrels.test", "measures=[AP,nDCG@10]")
FULL = Evaluation(
    comparisons={
        "nDCG@10": Comparison(0.75, 0.5, 0.25, 0.00001, 0.00002, 123456, 7),
        "AP(rel=2)@1000": Comparison(0.5, 0.5, 0.0, None, None, 0, 0),
    },
    ours={"nDCG@10": {"q1": 1.0, "[q2]": 0.5, "q3": 0.1}},
    first={"nDCG@10": {"q1": 0.5, "[q2]": 0.75, "q3": 0.1}},
    queries=Queries(3, 1, 2, missing_count_as_zero=True),
    unjudged_in_top=0.125,
    duplicates=3,
    agreement=Agreement(20, 5, 10, 15, 7, 3),
    relevance_threshold=2,
    instructions=InstructionScore(0.0725, 20, 300, 1),
)


def show(found: Evaluation) -> list[str]:
    console = Console(file=io.StringIO(), width=80)
    print_evaluation(found, console)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_everything_is_shown_in_eighty_columns() -> None:
    lines = show(FULL)
    assert max(map(len, lines)) <= 80
    assert lines == [
        "                first stage    this  difference       p    Holm  gained  lost",
        "nDCG@10              0.5000  0.7500     +0.2500  <.0001  <.0001  123456     7",
        "AP(rel=2)@1000       0.5000  0.5000     +0.0000       -       -       0     0",
        "",
        "queries      3 measured; 1 without candidates (counted as 0); 2 without grades",
        "p            two-sided paired t-test over queries; - if there is none",
        "Holm         p with Holm's correction, over the measures that have a p",
        "gained most  q1 +0.500 (nDCG@10)",
        "lost most    [q2] -0.250 (nDCG@10)",
        "unjudged     12.5% of the top 10",
        "duplicates   3 candidates are repeated; their best place counts",
        "labels       precision 0.800, recall 0.667, kappa 0.400 (relevant: grade >= 2)",
        "             true: 20 relevant, 5 not; false: 10 relevant, 15 not",
        "             left out: 7 without a grade, 3 without a label",
        "p-MRR        +7.25 over 20 queries, 300 documents changed; 1 queries left out",
    ]


def test_a_sample_is_told_above_the_table() -> None:
    lines = show(FULL._replace(queries=Queries(300, 267, 0, missing_count_as_zero=True)))
    assert lines[0].startswith("267 of 300 graded queries have no candidates. They count as 0.")
    assert "missing_queries=leave_out" in " ".join(lines[:2])
    lines = show(FULL._replace(queries=Queries(33, 267, 0, missing_count_as_zero=False)))
    assert lines[0] == "267 of 300 graded queries have no candidates. They are left out."
    assert "no candidates" not in show(FULL._replace(queries=Queries(300, 150, 0, missing_count_as_zero=True)))[0]


def test_without_a_first_stage_there_are_values_alone() -> None:
    found = FULL._replace(
        comparisons={"AP": Comparison(0.5)},
        first=None,
        unjudged_in_top=None,
        duplicates=0,
        agreement=None,
        instructions=None,
    )
    assert show(found) == [
        "     value",
        "AP  0.5000",
        "",
        "queries  3 measured; 1 without candidates (counted as 0); 2 without grades",
    ]


def test_json_is_all_that_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*TREC_EVAL, "format=json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert {name: round(one["value"], 4) for name, one in told["measures"].items()} == {"AP": 0.1785, "nDCG@10": 0.3016}


def test_what_cannot_work_is_told_with_exit_code_two(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run=none", "qrels=none"]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        f"error: run: {Path.cwd()}/none: there is no such file, folder or bucket",
        f"qrels: {Path.cwd()}/none: there is no such file, folder or bucket",
    ]

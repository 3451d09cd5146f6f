"""What the first page says about an output."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rank1_batch.jobs.report.overview import describe_cost, list_facts, list_gates
from rank1_batch.jobs.report.source import open_output
from rank1_batch.output.counts import Counts
from rank1_batch.output.summary import Gate, ReplicaTotals, RunTotals, Summary, write_summary
from tests.support.scripted import judge_here
from tests.support.tiny_model import tiny_pairs


@pytest.fixture
def judged(tmp_path: Path) -> str:
    pq.write_table(tiny_pairs(40), tmp_path / "pairs.parquet")
    judge_here(f"input.path={tmp_path}/pairs.parquet", f"output.path={tmp_path}/judged", "input.unit_rows=20")
    return f"{tmp_path}/judged"


def test_a_cost_is_in_hours_of_replicas_and_of_their_gpus() -> None:
    worked = ReplicaTotals(3, "2026-11-24T10:00:00+00:00", "2026-11-24T11:30:00+00:00")
    run = RunTotals(replicas={"a": worked, "b": worked})
    assert describe_cost(run, 0) == "3.00 replica-hours"
    assert describe_cost(run, 4) == "3.00 replica-hours, 12.00 GPU-hours"


def test_facts_name_model_prompt_and_policy_and_of_a_finished_job_its_last_run(judged: str) -> None:
    before = dict(list_facts(open_output(judged)))
    assert (before["Engine"], before["Prompt"]) == ("scripted", "plain, version 1")
    assert before["Policy"] == "full, at most 150 tokens of reasoning"
    assert "Last run" not in before
    output = open_output(judged)
    run = RunTotals(rows=40, nodes=1, seconds={"judge": 61.0}, rows_per_s=1.5)
    write_summary(output.store, Summary(counts=Counts(rows=40), this_run=run))
    after = dict(list_facts(open_output(judged)))
    assert after["Last run"] == "40 rows in 1 min 1 s, 0 replicas on 1 nodes"


def test_a_limit_that_was_not_kept_is_told_with_what_to_do(judged: str) -> None:
    output = open_output(judged)
    kept, missed = (Gate("true_most", value, 0.95, passed=value < 0.95, severity="warn") for value in (0.5, 0.99))
    write_summary(output.store, Summary(counts=Counts(rows=40), gates=[kept, missed]))
    told = [(line.passed, line.text) for line in list_gates(open_output(judged))]
    assert told[0] == (True, "50 % of the rows are true (true_most=0.95)")
    assert told[1][1].endswith("do input.columns name the query and the passage?")

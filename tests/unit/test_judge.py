import math
from pathlib import Path

import pyarrow.parquet as pq

from rank1_batch.config import load_config
from rank1_batch.judging import Finish, Judgment, failed_judgment
from rank1_batch.manifest import Counts
from rank1_batch.scoring import Verdict, score_verdict
from rank1_batch.stages.judge import JudgeSpec, JudgeUnits, count_judgments
from rank1_batch.stages.plan import open_input, plan_units
from rank1_batch.versions import find_versions
from tests.tiny_model import tiny_pairs


def judgment_of(true: float, false: float, finish: Finish = Finish.COMPLETE) -> Judgment:
    """The judgment of a model that gives these probabilities to the two words."""
    verdict = Verdict(math.log(true), math.log(false))
    return Judgment(score_verdict(verdict), *verdict, true > false, finish, "trace", 10, 3, False, None)


def test_a_unit_is_counted_by_how_its_rows_came_out() -> None:
    judgments = [
        judgment_of(0.9, 0.1),
        judgment_of(1 - 1e-8, 1e-8),
        judgment_of(1e-8, 1 - 1e-8, Finish.CLOSED),
        judgment_of(0.2, 0.1),
        judgment_of(1e-9, 1e-3)._replace(passage_truncated=True),
        failed_judgment("no text"),
    ]
    assert count_judgments(judgments) == Counts(
        rows=6, errors=1, complete=4, closed=1, truncated=1, true_labels=3,
        prompt_tokens=50, trace_tokens=15, saturated=3, stray=2,
    )  # fmt: skip


def test_a_unit_whose_judgments_are_there_is_not_asked_for_again(tmp_path: Path) -> None:
    """Its run may not know: a replica may die between a commit and its receipt."""
    (tmp_path / "pairs").mkdir()
    pq.write_table(tiny_pairs(20), tmp_path / "pairs" / "part-0.parquet")
    config = load_config(
        ["model=custom", "model.name=none", "engine=scripted", "policy=no_think", f"input.path={tmp_path / 'pairs'}",
         f"output.path={tmp_path / 'judged'}"]
    )  # fmt: skip
    source, files = open_input(config.input)
    (unit,) = plan_units(source, files, config.input).units
    judge = JudgeUnits(JudgeSpec(config, source.url, config.output.path, "run", find_versions()), "node")
    first, again = judge(unit), judge(unit)
    assert first.won
    assert first.sent_tokens > 0
    assert not again.won
    assert (again.counts, again.sent_tokens) == (first.counts, 0)

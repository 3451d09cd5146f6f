import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from rank1_batch.jobs.rerank.planning import plan_units
from rank1_batch.judging.readers import RANK1
from rank1_batch.judging.records import BadRow, Finish, Judgment, Pair, failed_judgment
from rank1_batch.judging.scoring import score_verdict
from rank1_batch.output.commits import check_committed, committed_units
from rank1_batch.output.counts import Counts, count_judgments
from rank1_batch.output.deaths import Death, read_attempts, read_deaths, record_death
from rank1_batch.output.generations import Changes, Redo, read_changes
from rank1_batch.output.judgments import parse_judgments, read_judgments
from rank1_batch.output.lease import HeldLease, hold_lease
from rank1_batch.output.notes.kept import count_kept, read_kept
from rank1_batch.pairs.inputs import open_input
from rank1_batch.pairs.layout import read_pairs
from rank1_batch.pairs.reader import UnitReader
from rank1_batch.pairs.units import Unit
from rank1_batch.replica import judge as judge_stage
from rank1_batch.replica.judge import JudgeSpec, JudgeUnits
from rank1_batch.replica.loop import Replica
from rank1_batch.settings import RerankConfig, load_config
from rank1_batch.storage.store import open_store
from rank1_batch.versions import find_versions, scoring_versions
from tests.support.seaweed import wait_for
from tests.support.tiny_model import tiny_pairs


def judgment_of(true: float, false: float, finish: Finish = Finish.COMPLETE) -> Judgment:
    """The judgment of a model that gives these probabilities to the two words."""
    verdict = math.log(true), math.log(false)
    score = score_verdict(verdict, RANK1)
    return Judgment(score, *verdict, true > false, finish, "trace", 10, 3, False, None, verdict)


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


def plan_tiny(folder: Path, *settings: str) -> tuple[RerankConfig, str, list[Unit]]:
    """A scripted job over 20 pairs: its settings, where its input is, and its units."""
    (folder / "pairs").mkdir()
    pq.write_table(tiny_pairs(20), folder / "pairs" / "part-0.parquet")
    config = load_config(
        ["model=custom", "model.name=none", "engine=scripted", f"input.path={folder / 'pairs'}",
         f"output.path={folder / 'judged'}", *settings]
    )  # fmt: skip
    source, files = open_input(config.input)
    return config, source.url, plan_units(source, files, config.input).units


def spec_of(config: RerankConfig, source: str, lease: HeldLease, unit: Unit) -> JudgeSpec:
    return JudgeSpec(config, source, config.output.path, lease.run_id, find_versions(), first_file=unit.path)


def test_a_unit_whose_judgments_are_there_is_not_asked_for_again(tmp_path: Path) -> None:
    """Its run may not know: a replica may die between a commit and its receipt."""
    config, source, (unit,) = plan_tiny(tmp_path, "policy=no_think")
    with hold_lease(open_store(config.output.path), print, takeover=False) as lease:
        judge = JudgeUnits(spec_of(config, source, lease, unit), "node")
        first, again = judge(unit), judge(unit)
    assert first.won
    assert first.sent_tokens > 0
    assert not again.won
    assert (again.counts, again.sent_tokens) == (first.counts, 0)
    committed = check_committed(open_store(config.output.path), [unit])
    assert [json.loads(text) for text in committed.versions] == [scoring_versions()]


def test_a_unit_that_waits_while_its_run_is_asked_to_stop_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was begun is finished; so a replica with many units in flight is idle soon."""
    monkeypatch.setattr(judge_stage, "LEASE_CHECK_S", 0.01)
    slow = "engine.args.seconds_per_token=0.003"
    config, source, units = plan_tiny(tmp_path, "input.unit_rows=5", "engine.max_num_seqs=1", slow)
    assert len(units) == 4
    output = open_store(config.output.path)
    with hold_lease(output, print, takeover=False) as lease, ThreadPoolExecutor(4) as pool:
        judge = JudgeUnits(spec_of(config, source, lease, units[0]), "node")
        calls = [pool.submit(judge, unit) for unit in units]
        wait_for(lambda: judge._life.begun, "nothing was begun")
        lease.stop()
        receipts = [call.result() for call in calls]
    won = {receipt.unit_id for receipt in receipts if receipt.won}
    assert won
    assert committed_units(output) == won
    assert all(receipt.passed_over for receipt in receipts if not receipt.won)
    assert len(won) < 4


def test_rows_that_were_finished_when_a_run_was_stopped_are_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unit of which one trace was long lost all its finished rows."""
    monkeypatch.setattr(judge_stage, "LEASE_CHECK_S", 0.01)
    slow = "engine.args.seconds_per_token=0.001"
    config, source, (unit,) = plan_tiny(tmp_path, "engine.max_num_seqs=1", slow)
    output = open_store(config.output.path)
    with ThreadPoolExecutor(1) as pool:
        with hold_lease(output, print, takeover=False) as lease:
            stopped = JudgeUnits(spec_of(config, source, lease, unit), "node")
            first = pool.submit(stopped, unit)
            wait_for(lambda: stopped._life.begun, "nothing was begun")
            lease.stop()
            wait_for(lambda: count_kept(output) >= 5, "no finished row was kept")
        config.engine.args.clear()
        kept = read_kept(output, unit.unit_id, 0)
        with hold_lease(output, print, takeover=False) as lease:
            again = JudgeUnits(spec_of(config, source, lease, unit), "node")(unit)
        assert again.won
        assert not first.result().won
    rows = read_pairs(UnitReader(open_store(source), {}, ()).read(unit)[0])
    assert parse_judgments(read_judgments(output, unit)) == count_tokens(config, rows)[0]
    asked = [count_tokens(config, asked)[1] for asked in (rows, [row for i, row in enumerate(rows) if i not in kept])]
    assert 0 < again.sent_tokens <= asked[1] < asked[0]


def count_tokens(config: RerankConfig, rows: list[Pair | BadRow]) -> tuple[list[Judgment], int]:
    """The judgments of rows, and the tokens that an engine is sent for them."""
    replica = Replica(config)
    judgments = replica.judge(rows)
    replica.close()
    return judgments, replica.usage().prompt_tokens


def test_what_a_replica_has_begun_is_written_before_its_engine_is_asked(tmp_path: Path) -> None:
    """A process that is killed has no time to say it."""
    config, source, (unit,) = plan_tiny(tmp_path, "engine.args.hang_on=Passage", "run.stall_s=1000")
    output = open_store(config.output.path)
    with hold_lease(output, print, takeover=False) as lease:
        judge = JudgeUnits(spec_of(config, source, lease, unit), "node", "replica")
        assert read_attempts(output, lease.run_id) == []
        threading.Thread(target=judge, args=(unit,), daemon=True).start()
        wait_for(judge._replica.in_flight, "nothing was asked")
        (attempt,) = read_attempts(output, lease.run_id)
        assert (attempt.node, attempt.finished, attempt.rows) == ("node", 0, {unit.unit_id: [(0, 20)]})
        JudgeUnits(spec_of(config, source, lease, unit), "node", "replica")
    (death,) = read_deaths(output).values()
    assert (death.replica, death.rows) == (attempt.replica, attempt.rows)


def test_suspects_are_judged_apart_a_killer_not_at_all_and_all_others_as_ever(tmp_path: Path) -> None:
    config, source, (unit,) = plan_tiny(tmp_path)
    output = open_store(config.output.path)
    for name, runs in (("first", (3, 9)), ("second", (4, 9)), ("third", (4, 5))):
        record_death(output, name, Death("1@host", "died", {unit.unit_id: [runs]}))
    with hold_lease(output, print, takeover=False) as lease:
        receipt = JudgeUnits(spec_of(config, source, lease, unit), "node")(unit)
    assert (receipt.counts.rows, receipt.counts.errors) == (20, 1)
    judged = read_judgments(output, unit).to_pylist()
    assert [row["row"] for row in judged] == [*range(20)]
    assert [row["row"] for row in judged if row["error"]] == [4]
    scores = {row["row"]: row["score"] for row in judge_afresh(tmp_path / "again")}
    assert all(row["score"] == scores[row["row"]] for row in judged if not row["error"])


def judge_afresh(folder: Path) -> list[dict[str, Any]]:
    """The judgments of the same rows, over which no engine died."""
    folder.mkdir()
    config, source, (unit,) = plan_tiny(folder)
    output = open_store(config.output.path)
    with hold_lease(output, print, takeover=False) as lease:
        JudgeUnits(spec_of(config, source, lease, unit), "node")(unit)
    return list(read_judgments(output, unit).to_pylist())


def test_a_redo_counts_the_rows_that_it_judged_again_and_what_changed(tmp_path: Path) -> None:
    config, source, (unit,) = plan_tiny(tmp_path, "policy.max_thinking_tokens=60")
    output = open_store(config.output.path)
    with hold_lease(output, print, takeover=False) as lease:
        first = JudgeUnits(spec_of(config, source, lease, unit), "node")(unit)
        before = parse_judgments(read_judgments(output, unit))
        config.policy.max_thinking_tokens = 1000
        redo = Redo(1, "finish = 'closed'")
        again = JudgeUnits(spec_of(config, source, lease, unit)._replace(redo=redo), "node")(unit)
    after = parse_judgments(read_judgments(output, unit))
    closed = [place for place, judgment in enumerate(before) if judgment.finish is Finish.CLOSED]
    assert 0 < len(closed) < len(before)
    changes = read_changes(output, [unit], 1)
    assert changes.rows == first.counts.closed == len(closed)
    assert changes.completed == sum(after[place].finish is Finish.COMPLETE for place in closed) > 0
    assert changes.verdicts == sum(after[place].label != before[place].label for place in closed)
    assert changes.trace_tokens == sum(after[place].trace_tokens - before[place].trace_tokens for place in closed) > 0
    assert again.counts.rows == len(before)
    assert (again.asked().rows, again.asked().trace_tokens) == (changes.rows, changes.trace_tokens)
    assert first.asked() == first.counts
    assert read_changes(output, [unit], 2) == Changes()

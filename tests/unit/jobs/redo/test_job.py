"""Redo without Ray: what a killed redo left behind, and the same command after it."""

import io
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from rank1_batch.cli.compose import load_settings
from rank1_batch.errors import RefusedError
from rank1_batch.jobs.redo.job import describe_changes, run_redo
from rank1_batch.jobs.redo.settings import RedoConfig
from rank1_batch.jobs.rerank.job import run_rerank
from rank1_batch.output.commits import commit_unit, read_generation
from rank1_batch.output.counts import count_judgments
from rank1_batch.output.generations import Changes, read_generations, write_generations
from rank1_batch.output.judgments import parse_judgments, read_judgments
from rank1_batch.output.layout import SUCCESS_PATH, judgments_path
from rank1_batch.output.lease import LEASE_PATH, Timing, hold_lease
from rank1_batch.output.plan import read_plan
from rank1_batch.output.recorded import restore_settings
from rank1_batch.output.success import is_finished
from rank1_batch.output.summary import read_summary, write_summary
from rank1_batch.pairs.units import Unit
from rank1_batch.settings import RerankConfig, check_config
from rank1_batch.storage.store import Store, delete_file, list_files, open_store
from tests.support.scripted import judge_here
from tests.support.tiny_model import tiny_pairs

WHERE = "finish = 'closed'"
SILENT = Console(file=io.StringIO())


@pytest.fixture
def judged(tmp_path: Path) -> RerankConfig:
    (tmp_path / "pairs").mkdir()
    pq.write_table(tiny_pairs(20), tmp_path / "pairs" / "part-0.parquet")
    places = [f"input.path={tmp_path / 'pairs'}", f"output.path={tmp_path / 'judged'}"]
    settings = ["engine.args.seconds_per_token=0", "input.columns.query_id=query_id", "input.unit_rows=5"]
    config = judge_here(*places, *settings, "policy.max_thinking_tokens=60")
    run_rerank(config, SILENT)  # nothing is left to judge: it ranks
    return config


def redo_settings(config: RerankConfig, *settings: str) -> RedoConfig:
    typed = [f"output.path={config.output.path}", f"where={WHERE}", "policy.max_thinking_tokens=400", *settings]
    return load_settings(typed, "redo", RedoConfig, check_config, restore_settings)


def leave_as_if_killed_while_ranking(store: Store, config: RedoConfig, without: Unit | None = None) -> None:
    """What a redo leaves that is killed after its last unit: all units are put, and none of it is ranked."""
    units = [unit for unit in read_plan(store) if unit != without]
    policy = {"kind": str(config.policy.kind), "max_thinking_tokens": config.policy.max_thinking_tokens}
    write_generations(
        store, [{"where": config.where, "policy": policy, "started_at": 1.0, "finished_at": None}]
    )  # fmt: skip
    delete_file(store, SUCCESS_PATH)
    for unit in units:
        table = read_judgments(store, unit)
        changed = [row._replace(score=0.5) if row.score is not None else row for row in parse_judgments(table)]
        table = table.set_column(table.schema.get_field_index("score"), "score", [[row.score for row in changed]])
        commit_unit(store, unit, table, count_judgments(changed), generation=1)


def test_a_redo_that_was_killed_after_its_last_unit_is_finished_by_the_same_command(judged: RerankConfig) -> None:
    config = redo_settings(judged)
    store = open_store(judged.output.path)
    leave_as_if_killed_while_ranking(store, config)
    outcome = run_redo(config, SILENT)
    assert outcome is not None
    assert outcome.exit_code == 0
    assert SUCCESS_PATH in [file.path for file in list_files(store)]
    ranks = pq.read_table(Path(judged.output.path) / "ranking")
    assert set(ranks["score"].to_pylist()) == {0.5}
    assert read_generations(store)[-1]["finished_at"] is not None
    assert run_redo(redo_settings(judged, "where=finish = 'error' and score > 2"), SILENT) is None


def test_rerank_does_not_call_an_output_done_whose_redo_is_not(judged: RerankConfig) -> None:
    store = open_store(judged.output.path)
    leave_as_if_killed_while_ranking(store, redo_settings(judged))
    with pytest.raises(RefusedError, match=r"a redo .*not finished(.|\n)*where=finish = 'closed'"):
        run_rerank(judged, SILENT)
    assert SUCCESS_PATH not in [file.path for file in list_files(store)]


def test_a_redo_plans_only_while_it_holds_the_output(judged: RerankConfig) -> None:
    """Files that another run adds meanwhile would be left out of its ranking."""
    store = open_store(judged.output.path)
    other = hold_lease(store, lambda _: None, takeover=False, timing=Timing(renew_s=0.2))
    with other, pytest.raises(RefusedError, match="another run"):
        run_redo(redo_settings(judged), SILENT)
    assert run_redo(redo_settings(judged, "where=finish = 'error'"), SILENT) is None
    assert LEASE_PATH not in [file.path for file in list_files(store)]


def test_a_later_generation_is_never_put_over(judged: RerankConfig) -> None:
    store = open_store(judged.output.path)
    unit = read_plan(store)[0]
    table = read_judgments(store, unit)
    counts = count_judgments(parse_judgments(table))
    assert commit_unit(store, unit, table, counts, generation=2)
    assert not commit_unit(store, unit, table, counts, generation=1)
    path = Path(judged.output.path) / judgments_path(unit.unit_id)
    assert read_generation(pq.read_metadata(path).metadata) == 2


def test_a_redo_has_the_settings_of_the_run(judged: RerankConfig) -> None:
    config = redo_settings(judged)
    assert config.engine.args == {"seconds_per_token": 0}
    assert config.input.columns == {"query_id": "query_id"}
    assert config.policy.max_thinking_tokens == 400
    summary = read_summary(open_store(judged.output.path))
    assert summary is not None
    assert summary.counts.closed > 0


def test_a_redo_works_on_an_output_whose_job_left_a_file_out(judged: RerankConfig) -> None:
    """A file that could not be read has units in the plan, and no judgments."""
    store = open_store(judged.output.path)
    lost = read_plan(store)[0]
    delete_file(store, judgments_path(lost.unit_id))
    with pytest.raises(RefusedError, match="1 of 4 units are not judged yet"):
        run_redo(redo_settings(judged), SILENT)
    summary = read_summary(store)
    assert summary is not None
    counts = summary.counts._replace(rows=summary.counts.rows - lost.pairs)
    write_summary(store, replace(summary, counts=counts, bad_files=["part-0.parquet: cannot be read"]))
    leave_as_if_killed_while_ranking(store, redo_settings(judged), without=lost)
    outcome = run_redo(redo_settings(judged), SILENT)
    assert outcome is not None
    assert outcome.exit_code == 3
    assert outcome.summary.counts.rows == 15
    assert outcome.summary.bad_files == ["part-0.parquet: cannot be read"]
    assert is_finished(store, read_plan(store))


def test_a_redo_says_what_it_changed() -> None:
    told = describe_changes(Changes(rows=43, completed=40, verdicts=7, trace_tokens=9))
    assert told == "43 rows were judged again: 40 are complete now, 7 have another label"

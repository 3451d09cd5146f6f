"""Judges chosen rows of a finished output again: `python -m jobs.redo`.

A unit with such rows gets a new generation, which replaces the one before in one step; the other rows
of the unit stay as they are. If it is killed, the same command resumes it.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, NamedTuple

import pyarrow as pa
from rich.console import Console

from rank1_batch.cli.command import tell
from rank1_batch.columns import ROW
from rank1_batch.errors import RefusedError, SettingsError
from rank1_batch.jobs.redo.settings import RedoConfig
from rank1_batch.jobs.rerank.job import Outcome, finish, hold_cluster, hold_output, judge
from rank1_batch.jobs.rerank.mixing import check_versions
from rank1_batch.jobs.rerank.summary import Judged
from rank1_batch.jobs.rerank.work import Work
from rank1_batch.output.claims import Claim, as_written, check_same, read_claim
from rank1_batch.output.commits import check_committed, committed_units, count_committed, read_generation
from rank1_batch.output.deaths import clear_deaths
from rank1_batch.output.fingerprint import RERANK, build_fingerprint, find_model_commit
from rank1_batch.output.generations import (
    Changes,
    Redo,
    check_redo_finished,
    find_unfinished,
    list_columns,
    read_changes,
    read_generations,
    select_rows,
    write_generations,
)
from rank1_batch.output.judgments import read_judgments
from rank1_batch.output.layout import GENERATIONS_PATH, SUCCESS_PATH, judgments_path
from rank1_batch.output.lease import HeldLease
from rank1_batch.output.notes.last_run import record_run
from rank1_batch.output.plan import read_first_stages, read_inputs, read_plan
from rank1_batch.output.summary import read_summary
from rank1_batch.pairs.inputs import find_now, match_planned_files, open_input
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.parquet import open_parquet, read_or_blame
from rank1_batch.storage.store import Store, delete_file, open_store, see_files

UNITS_AT_ONCE = 8


def run_redo(config: RedoConfig, console: Console) -> Outcome | None:
    """Judge again what `where` selects; None where it selects nothing, and no redo is left to be finished."""
    output = open_store(config.output.path)
    _find_judged(output)
    # Planned only while no other run adds files: they would be left out of the ranking.
    with hold_output(output, config, console) as lease:
        work, redo, rows = _plan(config)
        if not rows and find_unfinished(read_generations(output)) is None:
            return None
        tell(console, f"generation {redo.generation}: {rows} rows of {len(work.pending)} units where {config.where}")
        for difference in check_versions(work.committed, config.run.versions):
            tell(console, difference)
        pending = {unit.unit_id for unit in work.pending}
        before = count_committed(output, [unit for unit in work.units if unit.unit_id not in pending | work.unread])
        with hold_cluster(work, config, console), record_run(output, lease.run_id) as run:
            _begin(work, redo, config, lease)
            judged = judge(work, config, console, before, lease) if work.pending else Judged()
            outcome = finish(work, judged, config, lease)
            # After the ranking: a redo that was killed before is finished by the same command.
            _end(output, lease)
            run.exit_code = outcome.exit_code
            tell(console, describe_changes(read_changes(output, work.units, redo.generation)))
            return outcome


def describe_changes(changes: Changes) -> str:
    """What a redo changed, for people."""
    complete, labels = f"{changes.completed} are complete now", f"{changes.verdicts} have another label"
    return f"{changes.rows} rows were judged again: {complete}, {labels}"


def _plan(config: RedoConfig) -> tuple[Work, Redo, int]:
    """The units that hold rows to judge again, as what is pending; the redo; and how many such rows there are."""
    start = time.monotonic()
    output = open_store(config.output.path)
    judged = _find_judged(output)
    units = judged.units
    committed = check_committed(output, units)
    committed.check(output)  # a damaged file is named before any is read
    columns = list_columns(config.where, _read_schema(output, units[0])) or [ROW]
    source, files = open_input(config.input)
    now = match_planned_files(source, files, units, read_inputs(output))
    commit = find_model_commit(config, read_claim(output, RERANK))
    fingerprint = build_fingerprint(config, commit.sha if commit else None)
    _check_settings(output, fingerprint)
    redo = Redo(_find_generation(output, config), config.where)
    with ThreadPoolExecutor(UNITS_AT_ONCE) as pool:
        counts = list(pool.map(lambda unit: _count_selected(output, unit, columns, redo), units))
    pending = find_now([unit for unit, count in zip(units, counts, strict=True) if count], now)
    first_stages, plan_s = read_first_stages(output), time.monotonic() - start
    plan = judged.planned
    work = Work(source.url, output, plan, plan, pending, judged.bad_files, first_stages, plan_s, redo=redo)
    work = work._replace(unread=judged.unread(), committed=committed, fingerprint=fingerprint, commit=commit)
    return work, redo, sum(counts)


class _Judged(NamedTuple):
    """The whole plan, its units that have judgments, and the files that the job left out (`input.on_bad_file=skip`)."""

    planned: list[Unit]
    units: list[Unit]
    bad_files: list[str]

    def unread(self) -> frozenset[str]:
        """Units that have no judgments, since their files could not be read."""
        return frozenset(unit.unit_id for unit in self.planned) - {unit.unit_id for unit in self.units}


def _find_judged(output: Store) -> _Judged:
    """What the job judged. Raises SettingsError where there is no job, RefusedError where it is not at its end."""
    planned = read_plan(output)
    if not planned:
        raise SettingsError([f"output.path: {output.url} holds no job"])
    committed = committed_units(output)
    units = [unit for unit in planned if unit.unit_id in committed]
    left = len(planned) - len(units)
    summary = read_summary(output)
    left_out = summary.bad_files if summary else []
    if left and not (summary and left_out and summary.counts.rows == sum(unit.pairs for unit in units)):
        raise RefusedError(f"{output.url}: {left} of {len(planned)} units are not judged yet. Run jobs.rerank first.")
    return _Judged(planned, units, left_out)


def _check_settings(output: Store, fingerprint: Claim) -> None:
    """Raises RefusedError where anything but the policy differs from what the output was judged with."""
    before, now = read_claim(output, RERANK) or {}, as_written(fingerprint)
    check_same(output, RERANK, {**before, "policy": None}, {**now, "policy": None})


def _read_schema(output: Store, unit: Unit) -> pa.Schema:
    path = judgments_path(unit.unit_id)
    return read_or_blame(output, path, lambda: open_parquet(output, path).schema_arrow)


def _find_generation(output: Store, config: RedoConfig) -> int:
    """The number of the generation that is to be made: the unfinished one, or the next.

    Raises RefusedError where another redo was begun and not finished.
    """
    generations = read_generations(output)
    last = find_unfinished(generations)
    if last is None:
        return len(generations) + 1
    asked = _describe(config)
    if {name: last[name] for name in asked} != asked:
        check_redo_finished(output)
    return len(generations)


def _count_selected(output: Store, unit: Unit, columns: list[str], redo: Redo) -> int:
    """Rows of a unit that are to be judged again; 0 where that was done in this generation."""
    table = read_judgments(output, unit, columns)
    if read_generation(table.schema.metadata) >= redo.generation:
        return 0
    return len(select_rows(table, redo.where))


def _begin(work: Work, redo: Redo, config: RedoConfig, lease: HeldLease) -> None:
    """Write down what is being done, unless this continues it."""
    seen = see_files(work.output, [GENERATIONS_PATH])
    lease.check()
    delete_file(work.output, SUCCESS_PATH)
    generations = read_generations(work.output)
    if len(generations) < redo.generation:
        # A unit over which engines died gets new chances.
        clear_deaths(work.output, [unit.unit_id for unit in work.pending])
        begun = {**_describe(config), "started_at": time.time(), "finished_at": None}
        write_generations(work.output, [*generations, begun], seen)


def _end(output: Store, lease: HeldLease) -> None:
    seen = see_files(output, [GENERATIONS_PATH])
    lease.check()
    *earlier, last = read_generations(output)
    write_generations(output, [*earlier, {**last, "finished_at": time.time()}], seen)


def _describe(config: RedoConfig) -> dict[str, Any]:
    return {"where": config.where, "policy": {**asdict(config.policy), "kind": str(config.policy.kind)}}

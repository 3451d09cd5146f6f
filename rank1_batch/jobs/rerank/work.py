"""What there is to do, before anything is spent."""

import time
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, NamedTuple

from rich.console import Console

from rank1_batch.cli.command import tell
from rank1_batch.engines.checkpoint import Commit
from rank1_batch.jobs.rerank.failures import check_error_rate
from rank1_batch.jobs.rerank.gates import check_gates
from rank1_batch.jobs.rerank.planning import plan_units
from rank1_batch.jobs.rerank.repair import delete_damaged, describe_damage
from rank1_batch.output.claims import Claim, read_claim
from rank1_batch.output.commits import Committed, check_committed, committed_units
from rank1_batch.output.counts import Counts
from rank1_batch.output.fingerprint import (
    RERANK,
    build_fingerprint,
    check_output,
    claim_output,
    find_model_commit,
    is_abandoned,
    reclaim_output,
)
from rank1_batch.output.generations import Redo, check_redo_finished
from rank1_batch.output.layout import FIRST_STAGES_PATH, INPUTS_PATH, JOB_PATH, PLAN_PATH, SETTINGS_PATH, SUCCESS_PATH
from rank1_batch.output.plan import (
    read_first_stages,
    read_inputs,
    read_plan,
    write_first_stages,
    write_inputs,
    write_plan,
)
from rank1_batch.output.ranking import is_ranked
from rank1_batch.output.recorded import record_settings
from rank1_batch.output.success import is_finished
from rank1_batch.output.summary import Summary, read_summary
from rank1_batch.pairs.inputs import KnownFile, digest_files, find_now, match_planned_files, name_as_planned, open_input
from rank1_batch.pairs.units import Unit, choose_sizes
from rank1_batch.replica.golden import GoldenSet, read_golden
from rank1_batch.settings import GatesConfig, RerankConfig
from rank1_batch.storage.retries import count_retries
from rank1_batch.storage.store import FileInfo, Store, delete_file, open_store, see_files, stat_file

CLAIMED = (JOB_PATH, FIRST_STAGES_PATH, INPUTS_PATH, SETTINGS_PATH)
"""Files that a run replaces when it begins, apart from the plan."""

MOST_ROWS_RANKED_HERE = 10_000_000
"""The driver alone ranks about 100,000 rows a second: beyond this the nodes of the cluster share the work."""


class Work(NamedTuple):
    """What there is to do: all units, those without judgments, and how long planning took.

    `planned` are the units of the plan in the output now. `golden` is what every replica judges before it works. `redo`
    says what to judge again, where only rows that were judged are pending. `abandoned` is whether the output holds
    nothing but the settings and the plan of a job that judged nothing. `unread` are units that an earlier run could not
    read (`input.on_bad_file=skip`). `committed` is what the files of the other units hold; damaged ones are pending.
    `fingerprint` is what affects the scores, and `commit` that of a model of the hub. `now`
    are the files of the plan as they are found today.
    """

    input_url: str
    output: Store
    planned: list[Unit]
    units: list[Unit]
    pending: list[Unit]
    bad_files: list[str]
    first_stages: list[Any]
    plan_s: float
    golden: GoldenSet | None = None
    redo: Redo | None = None
    retries_before: int = 0
    abandoned: bool = False
    unread: frozenset[str] = frozenset()
    committed: Committed = Committed(Counts(), {})
    fingerprint: Mapping[str, Any] = {}
    commit: Commit | None = None
    now: Mapping[str, FileInfo] = {}

    def count_pairs(self) -> int:
        """Rows of the whole job."""
        return sum(unit.pairs for unit in self.units)

    def ranked_on_cluster(self) -> bool:
        """Whether there is too much to be ranked by one process."""
        return self.count_pairs() > MOST_ROWS_RANKED_HERE


def find_work(config: RerankConfig) -> Work:
    """What there is to do: the input, the plan, and what is committed already. Writes nothing."""
    start, retries_before = time.monotonic(), count_retries()
    source, files = open_input(config.input)
    output = open_store(config.output.path)
    # A first try with a typo must not own the place: what it planned is forgotten where nothing was judged.
    planned, abandoned = read_plan(output), is_abandoned(output)
    commit, fingerprint = _identify(config, output, None if abandoned else read_claim(output, RERANK))
    cluster = config.cluster
    sizes = choose_sizes(config.engine.max_num_seqs, cluster.max_replicas or cluster.replicas)
    kept = [] if abandoned else planned
    now = match_planned_files(source, files, kept, read_inputs(output))
    plan = plan_units(source, name_as_planned(files, now, kept), config.input, kept, sizes)
    if not abandoned:
        check_output(output, fingerprint, fresh=config.run.fresh)
    if not config.run.repair:
        check_redo_finished(output)
    golden = read_golden(config.golden.path, fingerprint) if config.golden.path else None
    known = [] if abandoned else read_first_stages(output)
    first_stages = [*known, *(found for found in plan.first_stages if found not in known)]
    committed = check_committed(output, find_units(plan.units, committed_units(output)))
    if not config.run.repair:
        committed.check(output)
    pending = find_now([*find_pending(output, plan.units), *find_units(plan.units, committed.damaged)], now)
    seconds = time.monotonic() - start
    return Work(
        source.url, output, planned, plan.units, pending, plan.bad_files, first_stages, seconds, golden,
        retries_before=retries_before, abandoned=abandoned, committed=committed,
        fingerprint=fingerprint, commit=commit, now=now,
    )  # fmt: skip


def _identify(config: RerankConfig, output: Store, claim: Claim | None) -> tuple[Commit | None, dict[str, Any]]:
    """The commit of the model and the fingerprint of this job.

    `claim` is the fingerprint in the output. It is compared first, because the hub may be out of reach.
    """
    if claim:
        begun: Any = claim.get("model") or {}
        check_output(output, build_fingerprint(config, begun.get("commit")), fresh=config.run.fresh)
    commit = find_model_commit(config, claim)
    return commit, build_fingerprint(config, commit.sha if commit else None)


def find_pending(output: Store, units: list[Unit]) -> list[Unit]:
    """The units without judgments."""
    committed = committed_units(output)
    return [unit for unit in units if unit.unit_id not in committed]


def find_units(units: Iterable[Unit], unit_ids: Container[str]) -> list[Unit]:
    """Those units that have one of these ids."""
    return [unit for unit in units if unit.unit_id in unit_ids]


def find_finished(work: Work, gates: GatesConfig) -> Summary | None:
    """The summary of a job that finished this plan. None if it did not finish, or if its gates had other limits."""
    summary = read_summary(work.output)
    if summary is None or not is_finished(work.output, work.units):
        return None
    if not set(work.bad_files) <= set(summary.bad_files):
        return None  # they came later: the summary names them next
    if not is_ranked(work.output, summary.counts.rows - summary.duplicate_candidates):
        return None  # a part of it was deleted or damaged: it is made anew
    return summary if summary.gates == check_gates(summary.counts, gates) else None


def tell_plan(work: Work, console: Console) -> None:
    """How much there is, and how much of it is done."""
    files = len({unit.path for unit in work.units})
    shards = f"{files} file{'s' if files != 1 else ''}"
    done = len(work.units) - len(work.pending)
    resumed = f"; {done} units are judged already, resuming" if done else ""
    tell(console, f"{work.count_pairs()} rows in {shards}, {len(work.units)} units{resumed}")
    if work.commit:
        tell(console, f"{work.fingerprint['model']['name']} at commit {work.commit.sha}, {work.commit.source}")
    for line in describe_damage(work.output, list(work.committed.damaged.values())):
        tell(console, line)


def count_before(work: Work, config: RerankConfig) -> Counts:
    """The counts of what earlier runs judged. Raises ErrorRateError where these alone exceed the limit."""
    before = work.committed.counts
    check_error_rate(work.output, work.units, work.count_pairs(), before, config.output.max_error_rate)
    return before


def claim_work(work: Work, config: RerankConfig, check: Callable[[], None] = lambda: None) -> Work:
    """Write the settings and the plan. Returns the work as it is now that no other run can change it.

    `check` raises RefusedError where another run holds the output. Only files that are there before it is asked are
    replaced: a run that is paused later than that may wake up after another one.
    """
    seen = see_files(work.output, CLAIMED)
    check()
    if work.abandoned:
        reclaim_output(work.output, work.fingerprint, seen)
    else:
        claim_output(work.output, work.fingerprint)
    before = stat_file(work.output, PLAN_PATH)
    if read_plan(work.output) != work.planned:  # another run added to it meanwhile
        work = find_work(config)
    if work.units != work.planned:
        # Before the plan: files that are planned are not asked for it again.
        write_first_stages(work.output, work.first_stages, seen)
        known = {} if work.abandoned else read_inputs(work.output)
        write_inputs(work.output, {**known, **_digest_new_files(work)}, seen)
        write_plan(work.output, work.units, before)
    record_settings(work.output, config, seen)
    check()  # what is deleted cannot be compared in the same request
    delete_file(work.output, SUCCESS_PATH)
    delete_damaged(work.output, work.units, work.committed.damaged)
    return work._replace(pending=find_now(find_pending(work.output, work.units), work.now))


def _digest_new_files(work: Work) -> dict[str, KnownFile]:
    """Digests of the files that are not in the plan yet."""
    source = open_store(work.input_url)
    fresh = {unit.path for unit in work.units} - work.now.keys()
    return digest_files(source, [file for path in sorted(fresh) if (file := stat_file(source, path))])

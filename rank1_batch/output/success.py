"""_SUCCESS: says that a job is finished, and for which plan."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rank1_batch.errors import BadFileError, SettingsError
from rank1_batch.output.commits import committed_units, count_committed
from rank1_batch.output.layout import PLAN_PATH, SUCCESS_PATH, judgments_path
from rank1_batch.output.plan import read_plan
from rank1_batch.output.summary import read_summary
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.documents import parse_document, to_json
from rank1_batch.storage.store import Store, read_bytes


@dataclass(frozen=True)
class PlanStamp:
    """The plan that was judged: its number of units, and a hash of their ids in order."""

    units: int
    hash: str


def stamp_plan(units: Sequence[Unit]) -> PlanStamp:
    """The stamp of a plan: equal for equal plans."""
    digest = hashlib.blake2b(digest_size=8)
    for unit in units:
        digest.update(unit.unit_id.encode())
    return PlanStamp(len(units), digest.hexdigest())


def build_success(units: Sequence[Unit]) -> bytes:
    """The content of `_SUCCESS` for a plan."""
    return to_json(stamp_plan(units))


def is_finished(store: Store, units: Sequence[Unit]) -> bool:
    """Whether a job with this plan is finished here. An empty `_SUCCESS` of an earlier version counts, too."""
    data = read_bytes(store, SUCCESS_PATH)
    if not data:
        return data is not None
    try:
        return parse_document(store, SUCCESS_PATH, data, PlanStamp) == stamp_plan(units)
    except BadFileError:
        return False  # the job will write it again


class Finished(NamedTuple):
    """The units of a finished job: those that have judgments, and those whose input could not be read."""

    units: list[Unit]
    unread: list[Unit]


def find_finished_units(store: Store) -> Finished:
    """The units of the job that is finished here, in the plan's order.

    Raises SettingsError if none is finished or if files of judgments are gone, and BadFileError if some are damaged.
    """
    plan, committed = read_plan(store), committed_units(store)
    if not plan:
        raise SettingsError([f"{store.url} holds no plan of a job (no {PLAN_PATH})"])
    if not is_finished(store, plan):
        problem = f"the job at {store.url} has not finished, or it failed a check (no {SUCCESS_PATH} for its plan)"
        raise SettingsError([problem])
    units = [unit for unit in plan if unit.unit_id in committed]
    unread = [unit for unit in plan if unit.unit_id not in committed]
    counts, summary = count_committed(store, units), read_summary(store)
    if unread and (summary is None or summary.counts.rows != counts.rows):
        problem = f"{store.url} has lost files of judgments, for example {judgments_path(unread[0].unit_id)}"
        raise SettingsError([f"{problem}. Run the same jobs.rerank command again. It judges these rows."])
    return Finished(units, unread)

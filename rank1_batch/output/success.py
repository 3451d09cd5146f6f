"""_SUCCESS: the job is finished, and for which plan."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from rank1_batch.errors import BadFileError
from rank1_batch.output.layout import SUCCESS_PATH
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.documents import parse_document, to_json
from rank1_batch.storage.store import Store, read_bytes


@dataclass(frozen=True)
class PlanStamp:
    """Which plan was judged: its number of units, and a hash of their ids in order."""

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
    """Whether a job with this plan is finished here. An empty `_SUCCESS`, of earlier versions, counts as well."""
    data = read_bytes(store, SUCCESS_PATH)
    if not data:
        return data is not None
    try:
        return parse_document(store, SUCCESS_PATH, data, PlanStamp) == stamp_plan(units)
    except BadFileError:
        return False  # the job writes it anew

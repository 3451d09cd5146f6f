"""Units through the replicas by Ray Data: a unit goes in, a receipt comes out, rows never move."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext

from rank1_batch import errors
from rank1_batch.config import ClusterConfig, EngineConfig
from rank1_batch.errors import GoldenError, Rank1BatchError, ReplicaError, SettingsError
from rank1_batch.manifest import Counts
from rank1_batch.stages.judge import JudgeSpec, JudgeUnits, Receipt
from rank1_batch.units import Unit

ROWS_IN_FLIGHT = 8
"""Rows of units in flight for each sequence of an engine (simulated: keeps 98.5 % of them busy)."""
MOST_UNITS_IN_FLIGHT = 32
ERRORS = {kind.__name__: kind for kind in vars(errors).values() if isinstance(kind, type)}
INIT_DEATHS = 5
"""Actors that may die one after another while they start, before the job is given up."""


class JudgeActor:
    """What Ray Data makes an actor of: a JudgeUnits behind batches of one unit.

    Errors of ours go back as data. Ray would wrap them in others of its own and lose their class,
    and one raised by the constructor would count as an actor that died, and be tried again.
    """

    def __init__(self, spec: JudgeSpec) -> None:
        self._refusal: SettingsError | GoldenError | None = None
        try:
            self._judge = JudgeUnits(spec, ray.get_runtime_context().get_node_id())
        except (SettingsError, GoldenError) as error:
            self._refusal = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """`batch["unit"]` and the answer's `receipt` hold one JSON text each."""
        try:
            if self._refusal is not None:
                raise self._refusal
            receipt = self._judge(Unit(*json.loads(str(batch["unit"][0]))))
        except Rank1BatchError as error:
            return {"receipt": [json.dumps({"error": type(error).__name__, "message": str(error)})]}
        return {"receipt": [json.dumps(receipt)]}


def stream_units(
    units: Sequence[Unit], spec: JudgeSpec, cluster: ClusterConfig, engine: EngineConfig
) -> Iterator[Receipt]:
    """A receipt for each unit, as they come. Raises our own error where an actor raised one.

    Ends early when the run was asked to stop, as soon as every replica is idle.
    """
    _set_up_ray_data()
    replicas = cluster.max_replicas or cluster.replicas
    # No more for one than its share: the first to be loaded would take all units of a small job.
    share = -(-len(units) // replicas)
    in_flight = min(units_in_flight(engine.max_num_seqs, max(unit.pairs for unit in units)), share)
    pool = ActorPoolStrategy(
        min_size=cluster.replicas,
        max_size=replicas,
        max_concurrent_calls_per_actor=in_flight,
        max_tasks_in_flight_per_actor=in_flight + 1,
        enable_true_multi_threading=True,
    )
    items = ray.data.from_items([{"unit": json.dumps(unit)} for unit in units], override_num_blocks=len(units))
    receipts = items.map_batches(
        JudgeActor,
        batch_size=1,
        compute=pool,
        fn_constructor_args=(spec,),
        num_cpus=engine.cpus,
        num_gpus=engine.gpus or None,
    )
    try:
        yield from _until_idle(_parse_receipt(row["receipt"]) for row in receipts.iter_rows())
    except ray.exceptions.RayError as error:
        raise ReplicaError(f"the replicas failed, and their logs say why: {_first_line(error)}") from error


def _until_idle(receipts: Iterable[Receipt]) -> Iterator[Receipt]:
    """The receipts of judged units, until every replica that was heard of has skipped one."""
    known: set[str] = set()
    idle: set[str] = set()
    for receipt in receipts:
        known.add(receipt.replica)
        if not receipt.skipped:
            yield receipt
            continue
        idle.add(receipt.replica)
        if idle == known:
            return


def units_in_flight(max_num_seqs: int, unit_pairs: int) -> int:
    """Units that one replica works on at once: enough rows to keep it busy while units end."""
    return min(max(2, -(-ROWS_IN_FLIGHT * max_num_seqs // unit_pairs)), MOST_UNITS_IN_FLIGHT)


def _set_up_ray_data() -> None:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # A replica may wait for hours for a spot machine; Ray ends a job after 30 minutes without progress.
    context.execution_no_progress_timeout_s = -1
    context.max_consecutive_actor_init_deaths = INIT_DEATHS


def _parse_receipt(text: str) -> Receipt:
    """The receipt of a unit. Raises the error that a replica sent in its place."""
    found = json.loads(text)
    if isinstance(found, dict):
        message = found["message"]
        raise SettingsError([message]) if found["error"] == "SettingsError" else ERRORS[found["error"]](message)
    unit_id, counts, *rest = found
    return Receipt(unit_id, Counts(*counts), *rest)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)

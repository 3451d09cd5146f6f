"""Units through the replicas by Ray Data: a unit goes in, a receipt comes out, rows never move."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext

from rank1_batch.config import ClusterConfig, EngineConfig
from rank1_batch.errors import Rank1BatchError, ReplicaError, SettingsError
from rank1_batch.manifest import Counts
from rank1_batch.stages.judge import JudgeSpec, JudgeUnits, Receipt
from rank1_batch.units import Unit

ROWS_IN_FLIGHT = 8
"""Rows of units in flight for each sequence of an engine (simulated: keeps 98.5 % of them busy)."""
MOST_UNITS_IN_FLIGHT = 32
INIT_DEATHS = 5
"""Actors that may die one after another while they start, before the job is given up."""


class JudgeActor:
    """What Ray Data makes an actor of: a JudgeUnits behind batches of one unit."""

    def __init__(self, spec: JudgeSpec) -> None:
        self._refusal: SettingsError | None = None
        try:
            self._judge = JudgeUnits(spec, ray.get_runtime_context().get_node_id())
        except SettingsError as error:
            # Raised here, it would count as an actor that died, and be tried again.
            self._refusal = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """`batch["unit"]` and the answer's `receipt` hold one JSON text each."""
        if self._refusal is not None:
            raise self._refusal
        unit = Unit(*json.loads(str(batch["unit"][0])))
        return {"receipt": [json.dumps(self._judge(unit))]}


def stream_units(
    units: Sequence[Unit], spec: JudgeSpec, cluster: ClusterConfig, engine: EngineConfig
) -> Iterator[Receipt]:
    """A receipt for each unit, as they come. Raises our own error where an actor raised one."""
    _set_up_ray_data()
    in_flight = units_in_flight(engine.max_num_seqs, max(unit.pairs for unit in units))
    pool = ActorPoolStrategy(
        min_size=cluster.replicas,
        max_size=cluster.max_replicas or cluster.replicas,
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
        for row in receipts.iter_rows():
            yield _parse_receipt(row["receipt"])
    except ray.exceptions.RayError as error:
        raise _own_error(error) from error


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
    unit_id, counts, *rest = json.loads(text)
    return Receipt(unit_id, Counts(*counts), *rest)


def _own_error(error: BaseException) -> BaseException:
    """The error of ours that an actor raised, out of what Ray wrapped it in; else a ReplicaError."""
    seen: BaseException | None = error
    while seen is not None:
        for candidate in (seen, getattr(seen, "cause", None)):
            if isinstance(candidate, Rank1BatchError):
                return candidate
        seen = seen.__cause__ or seen.__context__
    return ReplicaError(f"the replicas failed, and their logs say why: {str(error).strip().splitlines()[-1]}")

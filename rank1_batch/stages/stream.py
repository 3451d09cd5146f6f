"""Units through the replicas by Ray Data: a unit goes in, a receipt comes out, rows never move."""

import gc
import json
import logging
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

import ray
from ray.data import ActorPoolStrategy

import rank1_batch
from rank1_batch import errors
from rank1_batch.config import ClusterConfig, EngineConfig
from rank1_batch.errors import GoldenError, Rank1BatchError, ReplicaError, SettingsError, StorageError
from rank1_batch.manifest import Counts
from rank1_batch.stages.judge import JudgeSpec, JudgeUnits, Receipt
from rank1_batch.units import Unit

ROWS_IN_FLIGHT = 8
"""Rows of units in flight for each sequence of an engine (simulated: keeps 98.5 % of them busy)."""
MOST_UNITS_IN_FLIGHT = 32
ERRORS = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Rank1BatchError)
}


class JudgeActor:
    """What Ray Data makes an actor of: a JudgeUnits behind batches of one unit.

    Errors of ours go back as data. Ray would wrap them in others of its own and lose their class,
    and one raised by the constructor would count as an actor that died, and be tried again.
    """

    def __init__(self, spec: JudgeSpec) -> None:
        _log_progress()
        self._refusal: SettingsError | GoldenError | StorageError | None = None
        try:
            self._judge = JudgeUnits(spec, ray.get_runtime_context().get_node_id())
            _spare_collector()
        except (SettingsError, GoldenError, StorageError) as error:
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
) -> Generator[Receipt]:
    """A receipt for each unit, as they come. Raises our own error where an actor raised one.

    Ends early when the run was asked to stop, as soon as every replica is idle.
    """
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
    rows: Any = iter(receipts.iter_rows())
    try:
        yield from until_idle(_parse_receipt(row["receipt"]) for row in rows)
    except ray.exceptions.RayError as error:
        raise ReplicaError(f"the replicas failed, and their logs say why: {_first_line(error)}") from error
    finally:
        rows.close()  # while Ray is there: when an error's traceback lets go of it, Ray prints one of its own


def _spare_collector() -> None:
    """Leave out of every later collection what was loaded: all that vLLM and torch are made of, which stays.

    A row costs this process a quarter less CPU time so, and none waits for a walk of half a second.
    """
    gc.collect()
    gc.freeze()


def _log_progress() -> None:
    """Our own progress into the actor's log; Ray leaves Python's default there, which drops it."""
    ours = logging.getLogger(rank1_batch.__name__)
    ours.setLevel(logging.INFO)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    ours.addHandler(handler)


def until_idle(receipts: Iterable[Receipt]) -> Iterator[Receipt]:
    """The receipts of judged units, until every replica that was heard of is idle and all of its own are here.

    Ray Data hands on whichever it sees first: that a replica is idle may be known before its last unit.
    """
    received: Counter[str] = Counter()
    given: dict[str, int] = {}
    for receipt in receipts:
        if receipt.idle_after is None:
            received[receipt.replica] += 1
            yield receipt
        else:
            given[receipt.replica] = receipt.idle_after
        if given and all(given.get(replica) == received[replica] for replica in received.keys() | given.keys()):
            return


def units_in_flight(max_num_seqs: int, unit_pairs: int) -> int:
    """Units that one replica works on at once: enough rows to keep it busy while units end."""
    return min(max(2, -(-ROWS_IN_FLIGHT * max_num_seqs // unit_pairs)), MOST_UNITS_IN_FLIGHT)


def _parse_receipt(text: str) -> Receipt:
    """The receipt of a unit. Raises the error that a replica sent in its place."""
    found = json.loads(text)
    if isinstance(found, dict):
        kind, message = ERRORS[found["error"]], found["message"]
        raise kind([message]) if issubclass(kind, SettingsError) else kind(message)
    unit_id, counts, *rest = found
    return Receipt(unit_id, Counts(*counts), *rest)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)

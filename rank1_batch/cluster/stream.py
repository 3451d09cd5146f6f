"""Sends units to the replicas by Ray Data. Units go in and receipts come out. Rows are never sent."""

import functools
import gc
import json
import logging
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import ray
from ray import cloudpickle
from ray.data import ActorPoolStrategy

from rank1_batch import errors
from rank1_batch.cluster.nodes import ask_nodes, find_fitting_nodes, is_lost
from rank1_batch.cluster.replicas import choose_nodes, follow_starts, start_replica
from rank1_batch.errors import Rank1BatchError, ReplicaError, SettingsError
from rank1_batch.output.counts import Counts
from rank1_batch.pairs.units import Unit
from rank1_batch.replica.judge import JudgeSpec, JudgeUnits, Receipt
from rank1_batch.replica.places import SAME_PLACES, absolute_model, find_unseen

ROWS_IN_FLIGHT = 40
"""Rows of units in flight for each sequence of an engine, about. A unit waits for its longest trace: with 8, an engine
stands half idle where one trace in a hundred runs to its budget (`benchmarks/in_flight.py`)."""

LEAST_TASKS_IN_FLIGHT, MOST_TASKS_IN_FLIGHT = 3, 32

TASK_UNITS, TASK_ROWS = 8, 4
"""Units share a task of Ray, which costs the driver some 15 kB. A task has at most this many units, and this many rows
for each sequence of an engine."""

MOST_TASKS = 4_000
"""About the most tasks of a job. In a large job, a task has more units and rows than the limits above."""

TASKS_A_REPLICA = 4
"""What is left makes this many tasks for each replica: else one would take all of a small job, or end late."""

ERRORS = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Rank1BatchError)
}


def build_judge() -> type:
    """What Ray Data makes actors of. It travels with all its code, so that a node without this package can say so."""

    class ImportingJudgeActor:
        def __init__(self, packed: bytes, starts: Any) -> None:
            try:
                from rank1_batch.cluster.stream import JudgeActor

                spec = cloudpickle.loads(packed)
            except Exception as error:  # an import may fail in any way
                here = ray.get_runtime_context()
                said = {  # by keywords: Ray does not know the positions of a class that it cannot import (2.60)
                    "replica": here.get_actor_id(),
                    "node_id": here.get_node_id(),
                    "address": ray.util.get_node_ip_address(),
                    "problem": f"{type(error).__name__}: {error}",
                }
                ray.get(starts.refuse.remote(**said))
                raise
            self._actor = JudgeActor(spec, starts)

        def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
            return self._actor(batch)

    return ImportingJudgeActor


class JudgeActor:
    """A JudgeUnits behind batches of one task, whose units it judges at once.

    A Rank1BatchError goes back as data, since Ray would wrap it and lose its class. So does the error by which the
    job ends because no replica can start.
    """

    def __init__(self, spec: JudgeSpec, starts: Any) -> None:
        _log_progress()
        here = ray.get_runtime_context()
        node, actor = here.get_node_id(), here.get_actor_id() or ""
        self._judge = start_replica(starts, lambda: JudgeUnits(spec, node, actor, is_lost))
        _spare_collector()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """`batch["units"]` holds a list of units as one JSON text, the answer's `receipt` a text for each."""
        units = [Unit(*unit) for unit in json.loads(str(batch["units"][0]))]
        with ThreadPoolExecutor(len(units)) as pool:
            answers = list(pool.map(self._answer, units))
        return {"receipt": [_to_text(answer) for answer in answers]}

    def _answer(self, unit: Unit) -> Receipt | Rank1BatchError:
        if isinstance(self._judge, Rank1BatchError):
            return self._judge
        try:
            return self._judge(unit)
        except Rank1BatchError as error:
            return error


def stream_units(units: Sequence[Unit], spec: JudgeSpec, tell: Callable[[str], None]) -> Generator[Receipt]:
    """A receipt for each unit, in the order in which they are done. Raises the Rank1BatchError that an actor had.

    Units that are passed over, after the run was asked to stop, have no receipt. All others have one, so at the end
    nothing is in progress. `tell` gets a line for each replica that could not start.
    """
    spec = fill_places(spec, units[0])
    check_places(spec)
    with follow_starts(spec.config.engine, tell) as starts:
        yield from _stream(units, spec, starts)


def _stream(units: Sequence[Unit], spec: JudgeSpec, starts: Any) -> Generator[Receipt]:
    cluster, engine = spec.config.cluster, spec.config.engine
    replicas = cluster.max_replicas or cluster.replicas
    tasks = deal_units(units, engine.max_num_seqs, replicas)
    # No more for one than its share: the first to be loaded would take all units of a small job.
    share = -(-len(tasks) // replicas)
    in_flight = min(tasks_in_flight(engine.max_num_seqs, max(map(_count_pairs, tasks))), share)
    most = min(replicas, len(tasks))  # one without a task would only be loaded
    _grow_at_once(most)
    pool = ActorPoolStrategy(
        min_size=min(cluster.replicas, most),
        max_size=most,
        initial_size=most,
        max_concurrent_calls_per_actor=in_flight,
        # One more waits at the replica, but in a small job it would be the share of another.
        max_tasks_in_flight_per_actor=min(in_flight + 1, share),
        enable_true_multi_threading=True,
    )
    items = ray.data.from_items([{"units": json.dumps(task)} for task in tasks], override_num_blocks=len(tasks))
    with warnings.catch_warnings():
        # The only way in which an actor's node can be chosen when it starts (Ray 2.60, which is pinned).
        warnings.filterwarnings("ignore", "`ray_remote_args_fn` is deprecated")
        receipts = items.map_batches(
            build_judge(),
            batch_size=1,
            compute=pool,
            fn_constructor_args=(cloudpickle.dumps(spec), starts),
            ray_remote_args_fn=functools.partial(choose_nodes, starts),
            num_cpus=engine.cpus,
            num_gpus=engine.gpus or None,
        )
    rows: Any = iter(receipts.iter_rows())
    try:
        for row in rows:
            receipt = _parse_receipt(row["receipt"])
            if not receipt.passed_over:
                yield receipt
    except ray.exceptions.RayError as error:
        raise ReplicaError(f"the replicas failed, and their logs say why: {_first_line(error)}") from error
    finally:
        rows.close()  # while Ray is there: when an error's traceback lets go of it, Ray prints one of its own


def fill_places(spec: JudgeSpec, unit: Unit) -> JudgeSpec:
    """Add what each node checks: that it sees a file of the input and, if the model is a folder, its full path."""
    model = spec.config.model
    config = replace(spec.config, model=replace(model, name=absolute_model(model.name)))
    return spec._replace(config=config, first_file=unit.path)


def check_places(spec: JudgeSpec) -> None:
    """Raises SettingsError where a node that could hold a replica does not see the input, the output or the model."""
    nodes = find_fitting_nodes(spec.config.engine, ray.nodes())
    answers = ask_nodes(nodes, find_unseen, spec.input_url, spec.first_file, spec.output_url, spec.config.model.name)
    if problems := [f"node {node}: {problem}" for node, unseen in answers.items() for problem in unseen]:
        raise SettingsError([*problems, SAME_PLACES])


def _grow_at_once(most: int) -> None:
    """Let Ray Data start every replica for which the cluster has room, at the start of a job and whenever room comes.

    Its pool grows when tasks in flight are at least this share of those that its actors, also ones that still load,
    work on at once (Ray 2.60, `default_actor_autoscaler.py`). By default this is 1.75, and there are never so many
    here; with 1, each replica would wait until the one before it has loaded. Initial actors that the cluster has no
    room for are taken back by the same pool, and so are idle ones when no task is left.
    """
    context = ray.data.DataContext.get_current()
    context.autoscaling_config.actor_pool_util_upscaling_threshold = 1 / most


def _spare_collector() -> None:
    """Keep Python's garbage collector away from everything loaded so far: vLLM, torch and their objects stay anyway.

    This saves a quarter of the CPU time for each row. And no row waits half a second for a collection.
    """
    gc.collect()
    gc.freeze()


def _log_progress() -> None:
    """Write our progress to the actor's log. By default it would be dropped there."""
    ours = logging.getLogger("rank1_batch")
    ours.setLevel(logging.INFO)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    ours.addHandler(handler)


def deal_units(units: Sequence[Unit], max_num_seqs: int, replicas: int) -> list[list[Unit]]:
    """Put the units into tasks, in order. Large units are alone, others share a task. Tasks get smaller at the end."""
    tasks: list[list[Unit]] = []
    left, room = _count_pairs(units), -1
    most = max(TASK_ROWS * max_num_seqs, left // MOST_TASKS)
    most_units = max(TASK_UNITS, len(units) // MOST_TASKS)
    for unit in units:
        if unit.pairs > room or len(tasks[-1]) == most_units:
            tasks.append([])
            room = min(most, left // (TASKS_A_REPLICA * replicas))
        tasks[-1].append(unit)
        room -= unit.pairs
        left -= unit.pairs
    return tasks


def tasks_in_flight(max_num_seqs: int, task_pairs: int) -> int:
    """How many tasks one replica works on at once: enough rows to keep it busy while units end."""
    tasks = -(-ROWS_IN_FLIGHT * max_num_seqs // max(1, task_pairs))
    return min(max(LEAST_TASKS_IN_FLIGHT, tasks), MOST_TASKS_IN_FLIGHT)


def _count_pairs(units: Iterable[Unit]) -> int:
    return sum(unit.pairs for unit in units)


def _to_text(answer: Receipt | Rank1BatchError) -> str:
    """A receipt, or an error in its place, as text. `began` becomes an age, because clocks of machines differ."""
    if isinstance(answer, Rank1BatchError):
        return json.dumps({"error": type(answer).__name__, "message": str(answer)})
    return json.dumps(answer._replace(began=time.monotonic() - answer.began))


def _parse_receipt(text: str) -> Receipt:
    """The receipt of a unit. Raises the error that a replica sent in its place."""
    found = json.loads(text)
    if isinstance(found, dict):
        kind, message = ERRORS[found["error"]], found["message"]
        raise kind([message]) if issubclass(kind, SettingsError) else kind(message)
    unit_id, counts, *rest = found
    receipt = Receipt(unit_id, Counts(*counts), *rest)
    return receipt._replace(began=time.monotonic() - receipt.began)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)

"""Starts replicas on nodes that can run them: what a replica's process does, and what the driver does.

Ray Data replaces an actor whose constructor raises, and gives it no task before. An actor that has worked is different:
Ray pins its tasks to it, so it must exit and be started again instead.
"""

import contextlib
import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rank1_batch.cluster.nodes import find_fitting_nodes
from rank1_batch.cluster.starts import Decision, Location, Placement, Starts
from rank1_batch.errors import GoldenError, Rank1BatchError, ReplicaError, SettingsError, StorageError
from rank1_batch.settings import EngineConfig

logger = logging.getLogger(__name__)

SEEN_S, STOP_S = 5.0, 5.0

MOST_RESTARTS = 5
"""Of the record of starts, if its process is killed. It begins empty then."""

NODE_LABEL = "ray.io/node-id"
"""A label that Ray gives to every node."""

T = TypeVar("T")


def start_replica(starts: Any, build: Callable[[], T]) -> T | Rank1BatchError:
    """What `build` returns, or the error by which the job has to end. Called in the constructor of an actor.

    Where only this replica could not start, it does not return: it raises, or exits if Ray has to start it again.
    """
    context = ray.get_runtime_context()
    me = context.get_actor_id(), Location(context.get_node_id(), ray.util.get_node_ip_address())
    decision: Decision = ray.get(starts.begin.remote(*me))
    if decision.start:
        threading.Thread(target=_stay_seen, args=(starts, me[0]), name="seen", daemon=True).start()
        time.sleep(decision.wait_s)  # the wait before another try on a node where a start has failed
        built = _try(build)
        if not isinstance(built, Rank1BatchError):
            ray.get(starts.succeed.remote(*me))
            return built
        decision = ray.get(starts.fail.remote(*me, built))
    return decision.error or _leave(decision)


def find_reason(error: Exception) -> Rank1BatchError:
    """Why a replica could not start, as an error that may end the job."""
    if isinstance(error, SettingsError | GoldenError | StorageError | ReplicaError):
        return error
    return ReplicaError(str(error) if isinstance(error, Rank1BatchError) else f"{type(error).__name__}: {error}")


@contextmanager
def follow_starts(engine: EngineConfig, tell: Callable[[str], None]) -> Iterator[Any]:
    """The record of all starts, as an actor on the driver's node. Each failed start is told when it happens."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {
        "num_cpus": 0,
        "scheduling_strategy": here,
        "max_restarts": MOST_RESTARTS,
        "max_task_retries": MOST_RESTARTS,
    }
    starts: Any = ray.remote(Starts).options(**options).remote(functools.partial(_find_node_ids, engine))
    teller = threading.Thread(target=_tell_news, args=(starts, tell), name="starts", daemon=True)
    teller.start()
    try:
        yield starts
    finally:
        with contextlib.suppress(RayError):  # killed while it is asked, Ray would print a line about it
            ray.get(starts.stop.remote(), timeout=STOP_S)
            teller.join(STOP_S)
        ray.kill(starts)
        teller.join(STOP_S)  # it ends with the record, but with Ray gone it may never learn of that


def choose_nodes(starts: Any) -> dict[str, Any]:
    """Ray's options for the next replica. Raises the error by which the job ends, if no replica can start."""
    placement: Placement = ray.get(starts.choose.remote())
    if placement.end:
        raise placement.end
    return build_options(placement)


def build_options(placement: Placement) -> dict[str, Any]:
    """Ray's options for an actor that goes to an avoided node only if there is no room elsewhere.

    It never goes to a withdrawn node.
    """
    if not placement.avoided:
        return {}
    fallback = {"label_selector": _exclude(placement.withdrawn)}
    return {"label_selector": _exclude(placement.avoided), "fallback_strategy": [fallback]}


def _exclude(node_ids: list[str]) -> dict[str, str]:
    return {NODE_LABEL: f"!in({','.join(node_ids or ['none'])})"}


def _try(build: Callable[[], T]) -> T | Rank1BatchError:
    try:
        return build()
    except Exception as error:  # any: vLLM, drivers and torch share no class, and the driver must hear the reason
        logger.exception("this replica could not start")
        return find_reason(error)


def _leave(decision: Decision) -> NoReturn:
    """End this process. Not by `exit_actor()`, after which Ray does not start an actor again."""
    time.sleep(decision.wait_s)  # room elsewhere may come before Ray puts the next replica here again
    if decision.restart:
        logging.shutdown()
        os._exit(1)
    raise ReplicaError("this replica could not start, and another one takes its place")


def _stay_seen(starts: Any, replica: str) -> None:
    while True:
        starts.see.remote(replica)
        time.sleep(SEEN_S)  # the pause between two signs of life, of which one a minute is enough (PRESENT_S)


def _tell_news(starts: Any, tell: Callable[[str], None]) -> None:
    with contextlib.suppress(RayError):
        while (lines := ray.get(starts.news.remote())) is not None:
            for line in lines:
                tell(line)


def _find_node_ids(engine: EngineConfig) -> set[str]:
    return {node["NodeID"] for node in find_fitting_nodes(engine, ray.nodes())}

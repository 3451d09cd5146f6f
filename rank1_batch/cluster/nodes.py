"""The nodes of the cluster that this process is connected to: what they have, and what they answer."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import ray
from ray.exceptions import NodeDiedError, RayTaskError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rank1_batch.errors import Rank1BatchError, ReplicaError
from rank1_batch.settings import EngineConfig

ANSWER_S = 120.0
"""A node that is busy starts a process for an answer within this time. One that is gone is missed by Ray before."""

T = TypeVar("T")


def find_fitting_nodes(engine: EngineConfig, nodes: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The nodes of `ray.nodes()` that are up and large enough for a replica, were nothing else at work there."""
    shape = {"CPU": engine.cpus, "GPU": engine.gpus}
    return [
        node
        for node in nodes
        if node["Alive"] and all(node["Resources"].get(name, 0) >= need for name, need in shape.items())
    ]


def ask_nodes(nodes: Iterable[dict[str, Any]], question: Callable[..., T], *args: object) -> dict[str, T]:
    """What a function returns on each node that is up, by the node's address.

    Raises the error of ours that it raised there, and ReplicaError where a node did not answer in time.
    """
    calls = {
        name_node(node): ray.remote(question)
        .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
        .remote(*args)
        for node in nodes
        if node["Alive"]
    }
    late = set(ray.wait([*calls.values()], num_returns=len(calls), timeout=ANSWER_S)[1]) if calls else set()
    if silent := [node for node, call in calls.items() if call in late]:
        raise ReplicaError(f"no answer within {ANSWER_S:g} s from {', '.join(silent)}: are these nodes well?")
    answers = {}
    for node, call in calls.items():
        try:
            answers[node] = ray.get(call)
        except (NodeDiedError, TaskUnschedulableError):
            continue  # a spot node that went away meanwhile
        except RayTaskError as error:
            raise _find_cause(node, error) from error
    return answers


def name_node(node: dict[str, Any]) -> str:
    """The address of a node, and the beginning of its id, which tells two on one machine apart."""
    return f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})"


def _find_cause(node: str, error: RayTaskError) -> Rank1BatchError:
    cause = error.cause
    if isinstance(cause, Rank1BatchError):
        return cause
    return ReplicaError(f"node {node}: {type(cause).__name__}: {cause}")

"""The nodes of the cluster that this process is connected to: what they have, and what they answer."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import ray
from ray.exceptions import NodeDiedError, RayTaskError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rank1_batch.cluster.starts import Place
from rank1_batch.errors import NodeError, Rank1BatchError, ReplicaError, SettingsError
from rank1_batch.settings import ClusterConfig, EngineConfig

ANSWER_S = 120.0
"""The limit for an answer. A busy node can start a process in this time. Ray notices a lost node sooner."""

POLL_S = 1.0

NOT_IMPORTED = "failed to import on the worker"
"""How Ray begins an error about a function that a node cannot load. The last line is Python's own (Ray 2.60)."""

T = TypeVar("T")


def wait_for_room(cluster: ClusterConfig, engine: EngineConfig, tell: Callable[[str], None]) -> None:
    """Return when a node is large enough for a replica, even if other work fills it at the moment.

    If no node is, it says at once what the nodes have. Raises SettingsError after `cluster.wait_s`.
    """
    if find_fitting_nodes(engine, ray.nodes()):
        return
    problems = describe_lack(engine, ray.nodes())
    tell("\n".join([*problems, f"waiting for such a node, {cluster.wait_s:g} s at most (cluster.wait_s)"]))
    deadline = time.monotonic() + cluster.wait_s
    # An autoscaler adds nodes for what waits. A request of Ray's autoscaler SDK would outlive a killed driver.
    demand = ray.remote(_do_nothing).options(num_cpus=engine.cpus, num_gpus=engine.gpus).remote()
    try:
        while not find_fitting_nodes(engine, ray.nodes()):
            if time.monotonic() >= deadline:
                raise SettingsError([*problems, "ask for less with engine.gpus and engine.cpus, or add such a node"])
            ray.wait([demand], timeout=POLL_S)
    finally:
        ray.cancel(demand)


def find_fitting_nodes(engine: EngineConfig, nodes: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The nodes of `ray.nodes()` that are up and, without other work, large enough for a replica."""
    return [node for node in nodes if node["Alive"] and fits(engine, node["Resources"])]


def fits(engine: EngineConfig, resources: Mapping[str, float]) -> bool:
    """Whether a node with these resources can hold a replica."""
    return resources.get("CPU", 0) >= engine.cpus and resources.get("GPU", 0) >= engine.gpus


def has_room(engine: EngineConfig) -> bool:
    """Whether there is a node that could hold a replica, were nothing else at work there."""
    return bool(find_fitting_nodes(engine, ray.nodes()))


def is_lost(node_id: str) -> bool:
    """Whether a node is not up any more."""
    return all(node["NodeID"] != node_id for node in ray.nodes() if node["Alive"])


def describe_lack(engine: EngineConfig, nodes: Iterable[dict[str, Any]]) -> list[str]:
    """That no node can hold a replica, and what each node has, a sentence each."""
    has = [(name_node(node), node["Resources"]) for node in nodes if node["Alive"]]
    return [
        f"no node can hold a replica with engine.gpus={engine.gpus} and engine.cpus={engine.cpus:g}",
        *(f"node {name} has {found.get('GPU', 0):g} GPUs and {found.get('CPU', 0):g} CPUs" for name, found in has),
    ]


def ask_nodes(nodes: Iterable[dict[str, Any]], question: Callable[..., T], *args: object) -> dict[str, T]:
    """What a function returns on each node that is up, by the node's address.

    Raises the Rank1BatchError that the function raised there, NodeError if the node does not have this package, and
    ReplicaError if a node did not answer in time.
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
    """What a node of `ray.nodes()` is called."""
    return Place(node["NodeID"], node["NodeManagerAddress"]).name


def _do_nothing() -> None:
    """A task that takes the same resources as a replica, and nothing else."""


def _find_cause(node: str, error: RayTaskError) -> Rank1BatchError:
    cause = error.cause
    if isinstance(cause, Rank1BatchError):
        return cause
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()] or [""]
    if NOT_IMPORTED in lines[0]:
        return NodeError([f"node {node}: rank1_batch cannot be imported there ({lines[-1]}): install it on every node"])
    return ReplicaError(f"node {node}: {type(cause).__name__}: {lines[0]}")

from typing import Any

import pytest

from rank1_batch.cluster.nodes import describe_lack, find_fitting_nodes
from rank1_batch.settings import EngineConfig

NODES = [
    {"NodeID": "aa" * 28, "NodeManagerAddress": "10.0.0.1", "Alive": True, "Resources": {"CPU": 4.0}},
    {"NodeID": "bb" * 28, "NodeManagerAddress": "10.0.0.2", "Alive": True, "Resources": {"CPU": 8.0, "GPU": 1.0}},
    {"NodeID": "cc" * 28, "NodeManagerAddress": "10.0.0.3", "Alive": False, "Resources": {"CPU": 8.0, "GPU": 8.0}},
]  # fmt: skip


@pytest.mark.parametrize(
    ("gpus", "cpus", "fitting"),
    [(0, 1.0, ["10.0.0.1", "10.0.0.2"]), (1, 1.0, ["10.0.0.2"]), (0, 8.0, ["10.0.0.2"]), (2, 1.0, []), (1, 9.0, [])],
)
def test_a_node_fits_where_it_is_up_and_has_enough_of_all(gpus: int, cpus: float, fitting: list[str]) -> None:
    nodes: list[dict[str, Any]] = find_fitting_nodes(EngineConfig(gpus=gpus, cpus=cpus), NODES)
    assert [node["NodeManagerAddress"] for node in nodes] == fitting


def test_what_is_lacking_is_told_node_by_node() -> None:
    assert describe_lack(EngineConfig(gpus=2, cpus=0.5), NODES) == [
        "no node can hold a replica with engine.gpus=2 and engine.cpus=0.5",
        "node 10.0.0.1 (aaaaaaaa) has 0 GPUs and 4 CPUs",
        "node 10.0.0.2 (bbbbbbbb) has 1 GPUs and 8 CPUs",
    ]

"""Replicas that cannot start: on nodes that share nothing but what a test gives them, and with vLLM."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.integration.conftest import ONE_PROCESS
from tests.integration.test_nodes import JOB_LIMIT_S, end_job, hide_package, read_summary, start_job
from tests.support.nodes import Cluster, Node, run_cluster
from tests.support.seaweed import wait_for
from tests.support.tiny_model import build_tiny_model, tiny_pairs

Run = Callable[..., tuple[int, str]]

SLOW = ["input.unit_rows=10", "engine.max_num_seqs=8", "engine.args.seconds_per_row=2"]
"""300 rows take one replica about 75 s."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A network without a node yet; `tmp_path`, which no node sees, holds a shard of 300 pairs."""
    (tmp_path / "pairs").mkdir()
    pq.write_table(tiny_pairs(300), tmp_path / "pairs" / "0.parquet", row_group_size=50)
    with run_cluster(tmp_path) as cluster:
        yield cluster


def places(folder: Path) -> list[str]:
    return [f"input.path={folder}/pairs", f"output.path={folder}/judged"]


def hosts_of(judged: Path) -> list[str]:
    return sorted(name.partition("@")[2] for name in read_summary(judged)["this_run"]["replicas"])


def find_worker(node: Node) -> str:
    """The number of the process of a node's replica."""
    return node.check(["pgrep", "-f", "^ray::MapWorker"]).split()[0]


def test_a_node_whose_engine_cannot_start_is_told_and_left_to_the_others(cluster: Cluster, tmp_path: Path) -> None:
    driver, bad = cluster.add_node(share=[tmp_path]), cluster.add_node(share=[tmp_path])
    wanted = [*places(tmp_path), *SLOW, "cluster.replicas=2", "engine.args.no_start_on=node2"]
    job = start_job(driver, cluster, *wanted)
    printed = end_job(job)
    assert job.returncode == 0, printed
    told = [line for line in printed.splitlines() if line.startswith(f"node {bad.address} ")]
    assert 1 <= len(told) <= 3, printed
    assert "a replica could not start, it will be tried again: the scripted engine does not start" in told[0]
    assert "withdrawn for the rest of the run" in told[-1]
    assert hosts_of(tmp_path / "judged") == ["node1"]


def test_a_job_whose_replicas_start_nowhere_ends_with_the_cause(cluster: Cluster, tmp_path: Path) -> None:
    driver, other = cluster.add_node(share=[tmp_path]), cluster.add_node(share=[tmp_path])
    job = start_job(driver, cluster, *places(tmp_path), "engine.args.no_start_on=node")
    printed = end_job(job)
    assert job.returncode == 5, printed
    *told, last = [line for line in printed.splitlines() if "the scripted engine does not start on node" in line]
    assert last.startswith("error: ")
    assert len(told) == 2
    assert {line.split()[1] for line in told} == {driver.address, other.address}  # the second try was made elsewhere


def test_a_late_node_that_does_not_see_the_places_is_withdrawn(cluster: Cluster, tmp_path: Path) -> None:
    driver = cluster.add_node(share=[tmp_path])
    judged = tmp_path / "judged"
    job = start_job(driver, cluster, *places(tmp_path), *SLOW, "cluster.max_replicas=2")
    wait_for(lambda: list(judged.glob("judgments/*.parquet")), "nothing was judged", JOB_LIMIT_S)
    late = cluster.add_node()
    printed = end_job(job)
    assert job.returncode == 0, printed
    (told,) = [line for line in printed.splitlines() if line.startswith(f"node {late.address} ")]
    assert "this node is withdrawn for the rest of the run" in told
    assert f"this node does not see the run in {judged}" in told
    assert hosts_of(judged) == ["node1"]


def test_a_late_node_without_the_package_is_withdrawn(cluster: Cluster, tmp_path: Path) -> None:
    driver = cluster.add_node(share=[tmp_path])
    judged = tmp_path / "judged"
    job = start_job(driver, cluster, *places(tmp_path), *SLOW, "cluster.max_replicas=2")
    wait_for(lambda: list(judged.glob("judgments/*.parquet")), "nothing was judged", JOB_LIMIT_S)
    late = Node(cluster.switch, len(cluster.machines), tmp_path, [tmp_path])
    cluster.machines.append(late)
    hide_package(late)
    late.start_ray(driver.address, cpus=1, gpus=0)
    printed = end_job(job)
    assert job.returncode == 0, printed
    (told,) = [line for line in printed.splitlines() if line.startswith(f"node {late.address} ")]
    assert "this node is withdrawn for the rest of the run" in told
    assert "rank1_batch cannot be loaded there (ModuleNotFoundError: No module named 'no_such_package')" in told


def test_units_of_a_replica_that_cannot_start_again_where_it_was_are_judged_elsewhere(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Both nodes have a folder of the model at first; then one loses it, and its replica is killed."""
    driver, bad = cluster.add_node(share=[tmp_path]), cluster.add_node(share=[tmp_path])
    for node in driver, bad:
        node.check(["mkdir", "/tmp/model"])  # noqa: S108
    wanted = [*places(tmp_path), *SLOW, "cluster.replicas=2", "model.name=/tmp/model"]
    job = start_job(driver, cluster, *wanted)
    log = tmp_path / "judged" / "judgments"
    wait_for(lambda: len([*log.glob("*.parquet")]) > 5, "nothing was judged", JOB_LIMIT_S)
    bad.check(["rmdir", "/tmp/model"])  # noqa: S108
    bad.check(["kill", "-9", find_worker(bad)])
    printed = end_job(job)
    assert job.returncode == 0, printed
    (told,) = [line for line in printed.splitlines() if line.startswith(f"node {bad.address} ")]
    assert "this node does not see the model: there is no /tmp/model" in told
    assert read_summary(tmp_path / "judged")["rows"] == 300


def test_a_folder_without_weights_ends_a_job_with_vllms_own_words(run_job: Run, tmp_path: Path) -> None:
    """It was ten minutes of silence, and then "the actor died" (vLLM names the cause in the log of another process)."""
    model = build_tiny_model(tmp_path / "model")
    (model / "model.safetensors").unlink()
    pq.write_table(tiny_pairs(20), tmp_path / "pairs.parquet")
    code, printed = run_job(
        "model=custom", f"model.name={model}", "model.max_model_len=320", "policy.max_thinking_tokens=24",
        "engine=vllm_cpu", f"engine.args.distributed_executor_backend={ONE_PROCESS}",
        f"input.path={tmp_path}/pairs.parquet", f"output.path={tmp_path}/judged",
    )  # fmt: skip
    assert code == 2, printed
    assert f"RuntimeError: Cannot find any model weights with `{model}`" in printed
    assert printed.count("Cannot find any model weights") == 1  # one try: there is no other node
    assert not list((tmp_path / "judged").glob("judgments/*"))

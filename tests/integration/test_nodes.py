"""Jobs on Ray nodes that are separate machines: addresses, processes and disks of their own."""

import functools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from rank1_batch.output.commits import committed_units
from rank1_batch.output.deaths import read_attempts, read_deaths
from rank1_batch.output.lease import read_lease
from rank1_batch.output.notes.kept import count_kept
from rank1_batch.storage.store import Store, open_store
from tests.support.nodes import BUCKET, HOME, LIMIT_S, NETWORK, Cluster, Node, run_cluster
from tests.support.paths import ROOT
from tests.support.seaweed import wait_for
from tests.support.tiny_model import tiny_pairs

SCRIPTED = ["model=custom", "model.name=none", "engine=scripted", "policy.max_thinking_tokens=150"]

JOB_LIMIT_S = 200

NODE_ID = "import ray; ray.init('auto', log_to_driver=False); print(ray.get_runtime_context().get_node_id())"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A network without a node yet; `tmp_path`, which no node sees, holds three shards of 200 pairs."""
    (tmp_path / "pairs").mkdir()
    for shard in range(3):
        pq.write_table(tiny_pairs(200, seed=shard), tmp_path / "pairs" / f"{shard}.parquet", row_group_size=70)
    with run_cluster(tmp_path) as cluster:
        yield cluster


def start_job(node: Node, cluster: Cluster, *settings: str) -> "subprocess.Popen[str]":
    return node.run(["python", "-m", "jobs.rerank", *SCRIPTED, f"cluster.address={cluster.address}", *settings])


def end_job(job: "subprocess.Popen[str]", limit_s: float = JOB_LIMIT_S) -> str:
    """All that a job printed, whose exit code is then known."""
    printed, _ = job.communicate(timeout=limit_s)
    return printed


def read_summary(output: Path) -> dict[str, Any]:
    return dict(json.loads((output / "summary.json").read_text()))


def find_hosts(output: Store) -> set[str]:
    """The nodes whose replicas have begun a unit."""
    lease = read_lease(output)
    attempts = read_attempts(output, lease.run_id) if lease else []
    return {attempt.replica.partition("@")[2] for attempt in attempts}


def has_no_raylet(node: Node) -> bool:
    """Whether Ray has ended on a node."""
    return "raylet" not in node.check(["ps", "ax"])


def hide_package(node: Node) -> None:
    """Let this package be one that a node cannot import, though the checkout is there."""
    node.check(["mount", "-t", "tmpfs", "tmpfs", str(ROOT / "rank1_batch")])
    node.check(["bash", "-c", f"echo 'import no_such_package' > {ROOT}/rank1_batch/__init__.py"])


def test_nodes_that_share_only_an_s3_server_judge_together(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start_s3()
    cluster.put(tmp_path / "pairs", f"{BUCKET}/pairs")
    driver = cluster.add_node()
    cluster.add_node()
    places = [f"input.path={BUCKET}/pairs", f"output.path={BUCKET}/judged"]
    job = start_job(driver, cluster, *places, "cluster.replicas=2", "engine.args.seconds_per_token=0.05")
    printed = end_job(job)
    assert job.returncode == 0, printed
    cluster.get(f"{BUCKET}/judged", tmp_path / "judged")
    summary = read_summary(tmp_path / "judged")
    assert (summary["rows"], summary["errors"], summary["this_run"]["nodes"]) == (600, 0, 2)
    hosts = [name.partition("@")[2] for name in summary["this_run"]["replicas"]]
    assert sorted(hosts) == ["node1", "node2"]


def test_a_job_uses_a_node_that_is_added_while_it_works(cluster: Cluster, tmp_path: Path) -> None:
    driver = cluster.add_node(share=[tmp_path])
    judged = tmp_path / "judged"
    places = [f"input.path={tmp_path}/pairs", f"output.path={judged}", "input.unit_rows=10"]
    slow = ["engine.max_num_seqs=8", "engine.args.seconds_per_row=0.7"]  # 600 rows: 45 s for one replica
    job = start_job(driver, cluster, *places, *slow, "cluster.max_replicas=8")
    wait_for(lambda: list(judged.glob("judgments/*.parquet")), "nothing was judged", JOB_LIMIT_S)
    cluster.add_node(share=[tmp_path])
    printed = end_job(job)
    assert job.returncode == 0, printed
    replicas = read_summary(judged)["this_run"]["replicas"]
    assert sorted(name.partition("@")[2] for name in replicas) == ["node1", "node2"]


def test_a_job_whose_output_another_node_does_not_see_ends_before_it_judges(cluster: Cluster, tmp_path: Path) -> None:
    """A relative path: each node took it for a folder of its own, judged into it, and the job said "run again"."""
    driver, other = cluster.add_node(share=[tmp_path]), cluster.add_node(share=[tmp_path])
    places = [f"input.path={tmp_path}/pairs", "output.path=judged"]
    job = start_job(driver, cluster, *places, "cluster.replicas=2")
    printed = end_job(job)
    assert job.returncode == 2, printed
    assert f"node {other.address}" in printed
    assert f"this node does not see the run in {HOME}/judged" in printed
    assert f"node {driver.address}" not in printed
    assert driver.check(["find", "judged", "-path", "*judgments*"]) == ""
    assert other.check(["ls"]) == ""


def test_a_job_whose_input_a_node_does_not_see_ends_before_it_judges(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start_s3()
    driver, other = cluster.add_node(share=[tmp_path]), cluster.add_node()
    job = start_job(driver, cluster, f"input.path={tmp_path}/pairs", f"output.path={BUCKET}/judged")
    printed = end_job(job)
    assert job.returncode == 2, printed
    assert f"node {other.address}" in printed
    assert f"this node does not see the input {tmp_path}/pairs: there is no 0.parquet" in printed


@pytest.mark.parametrize("stale", [True, False])
def test_an_address_without_a_cluster_ends_a_job_soon(cluster: Cluster, tmp_path: Path, stale: bool) -> None:
    """Ray itself tries for eight minutes, silently (Ray 2.60)."""
    nobody = f"{NETWORK}.99:6379"
    command = ["python", "-m", "jobs.rerank", *SCRIPTED, f"input.path={tmp_path}/pairs", "output.path=judged"]
    if stale:
        job = cluster.switch.run(command, {"RAY_ADDRESS": nobody})
    else:
        job = cluster.switch.run([*command, f"cluster.address={nobody}"])
    printed = end_job(job, limit_s=30)  # five seconds are for the connection, the rest for a busy machine
    assert job.returncode == 2, printed
    assert f"{'RAY_ADDRESS' if stale else 'cluster.address'}={nobody}: no Ray cluster answers there" in printed


def test_a_head_that_hangs_ends_a_job_soon(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add_node().pause()
    command = ["python", "-m", "jobs.rerank", *SCRIPTED, f"input.path={tmp_path}/pairs", "output.path=judged"]
    job = cluster.switch.run([*command, f"cluster.address={cluster.address}"])
    printed = end_job(job, limit_s=40)
    assert job.returncode == 5, printed
    assert f"cluster.address={cluster.address}: the head node takes connections, but does not answer" in printed


def test_a_node_without_the_package_is_told_in_a_sentence(cluster: Cluster, tmp_path: Path) -> None:
    driver, bare = cluster.add_node(share=[tmp_path]), cluster.add_node(share=[tmp_path])
    hide_package(bare)
    job = start_job(driver, cluster, f"input.path={tmp_path}/pairs", f"output.path={tmp_path}/judged")
    printed = end_job(job)
    assert job.returncode == 2, printed
    (told,) = [line for line in printed.splitlines() if "error: " in line]
    assert f"node {bare.address} " in told
    assert "rank1_batch cannot be imported there (ModuleNotFoundError: No module named 'no_such_package')" in told
    assert "Traceback" not in printed


def test_a_replica_that_is_too_large_for_every_node_is_told_and_waited_for(cluster: Cluster, tmp_path: Path) -> None:
    driver = cluster.add_node(gpus=1, share=[tmp_path])
    wanted = [f"input.path={tmp_path}/pairs", f"output.path={tmp_path}/judged", "engine.gpus=2"]
    job = start_job(driver, cluster, *wanted, "cluster.wait_s=0")
    printed = end_job(job)
    assert job.returncode == 2, printed
    assert "no node can hold a replica with engine.gpus=2" in printed
    assert f"node {driver.address} " in printed

    job = start_job(driver, cluster, *wanted, "cluster.wait_s=100")
    assert job.stdout is not None
    seen = next((line for line in job.stdout if line.startswith("waiting for such a node")), None)
    assert seen is not None
    demand = "{'CPU': 1.0, 'GPU': 2.0}: 1+ pending tasks"  # what an autoscaler would add a node for
    wait_for(lambda: demand in driver.check(["ray", "status"]), "an autoscaler would not know of it", 60)
    cluster.add_node(gpus=2, share=[tmp_path])
    printed = end_job(job)
    assert job.returncode == 0, printed


def test_nodes_that_die_hang_or_lose_their_network_leave_every_row_judged_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    driver, *others = (cluster.add_node(share=[tmp_path]) for _ in range(4))
    judged = tmp_path / "judged"
    wanted = [f"input.path={tmp_path}/pairs", f"output.path={judged}", "input.unit_rows=10", "cluster.replicas=4"]
    job = start_job(driver, cluster, *wanted, "engine.max_num_seqs=4", "engine.args.seconds_per_row=0.7")
    wait_for(lambda: len([*judged.glob("judgments/*.parquet")]) > 8, "nothing was judged", JOB_LIMIT_S)
    dying, hanging, alone = others
    dying.kill()
    hanging.pause()
    alone.cut_off()
    printed = end_job(job)
    assert job.returncode == 0, printed
    summary = read_summary(judged)
    assert summary["rows"] == 600
    before = {path: path.read_bytes() for path in judged.glob("judgments/*.parquet")}
    rows = pq.read_table(judged / "judgments")
    assert len({*zip(rows["unit_id"].to_pylist(), rows["row"].to_pylist(), strict=True)}) == rows.num_rows == 600
    hanging.resume()  # what its replica had begun may come now: too late to change anything
    alone.reconnect()
    for node in hanging, alone:
        wait_for(functools.partial(has_no_raylet, node), "it did not learn that it was given up", 60)
    assert before == {path: path.read_bytes() for path in judged.glob("judgments/*.parquet")}


def test_replicas_without_work_give_their_room_back_while_another_judges_on(cluster: Cluster, tmp_path: Path) -> None:
    node = cluster.add_node(cpus=4, share=[tmp_path])
    judged = tmp_path / "judged"
    wanted = [f"input.path={tmp_path}/pairs/0.parquet", f"output.path={judged}", "input.unit_rows=10"]
    slow = ["engine.args.seconds_per_row=1.5", "engine.args.long_rows=0.01", "engine.max_num_seqs=8"]
    job = start_job(node, cluster, *wanted, *slow, "cluster.max_replicas=4")
    wait_for(lambda: [*judged.glob("judgments/*.parquet")], "nothing was judged", JOB_LIMIT_S)
    poll = "while ray.available_resources().get('CPU', 0) < 3: time.sleep(0.5)"  # a poll: Ray sends no notice
    node.check(["python", "-c", f"import ray, time\nray.init(logging_level='ERROR')\n{poll}"])
    assert job.poll() is None
    printed = end_job(job)
    assert job.returncode == 0, printed
    assert len(read_summary(judged)["this_run"]["replicas"]) == 4


def test_a_spot_notice_drains_its_worker_alone(cluster: Cluster, tmp_path: Path) -> None:
    """Ray Data gives no more tasks to a node that is drained (Ray 2.60). What its replica has finished is kept."""
    pq.write_table(tiny_pairs(1500, seed=9), tmp_path / "pairs" / "3.parquet")
    driver, spot = cluster.add_node(share=[tmp_path]), cluster.add_node(share=[tmp_path])
    places = [f"input.path={tmp_path}/pairs", f"output.path={tmp_path}/judged", "input.unit_rows=10"]
    slow = ["engine.max_num_seqs=8", "engine.args.seconds_per_row=0.3", "engine.args.long_rows=0.05"]
    job = start_job(driver, cluster, *places, *slow, "cluster.replicas=2")
    output = open_store(str(tmp_path / "judged"))
    wait_for(lambda: len(find_hosts(output)) == 2 and count_kept(output), "no two replicas", JOB_LIMIT_S)
    notice = ["--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=spot", "--deadline-remaining-seconds=30"]
    node_id = spot.check(["python", "-c", NODE_ID], LIMIT_S).split()[-1]
    spot.check(["ray", "drain-node", f"--address={cluster.address}", f"--node-id={node_id}", *notice])
    before = len(committed_units(output))
    wait_for(lambda: len(committed_units(output)) > before + 5, "nothing more was judged", JOB_LIMIT_S)
    spot.kill()
    printed = end_job(job)
    assert job.returncode == 0, printed
    summary = read_summary(tmp_path / "judged")
    assert (summary["rows"], summary["errors"]) == (2100, 0)
    assert read_deaths(output) == {}

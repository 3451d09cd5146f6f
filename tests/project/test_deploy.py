"""The manifests for clusters are what their readers accept, and name settings that there are."""

import json
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml

from rank1_batch.settings import RerankConfig, load_config
from tests.support.paths import ROOT

MANIFESTS = [ROOT / "cluster.yaml", *sorted((ROOT / "deploy").iterdir())]
SCHEMA = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
COMMAND = ["rank1-batch", "rerank"]


def read_cluster() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8")))


def read_rayjob() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "deploy" / "rayjob.yaml").read_text(encoding="utf-8")))


def read_nightly() -> dict[str, Any]:
    documents = yaml.safe_load_all((ROOT / "deploy" / "nightly.yaml").read_text(encoding="utf-8"))
    return {document["kind"]: document for document in documents}


def load_entrypoint() -> RerankConfig:
    words = shlex.split(read_rayjob()["spec"]["entrypoint"])
    assert words[:2] == COMMAND
    return load_config(words[2:])


def pod_specs() -> dict[str, dict[str, Any]]:
    cluster = read_rayjob()["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    return {"head": cluster["headGroupSpec"]["template"]["spec"], "worker": workers["template"]["spec"]}


def test_ray_accepts_the_cluster() -> None:
    jsonschema.validate(read_cluster(), json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_the_head_is_on_demand_and_takes_no_work() -> None:
    cluster = read_cluster()
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert head["resources"]["CPU"] == 0
    assert "InstanceMarketOptions" not in head["node_config"]


def test_workers_are_spot_nodes_that_come_and_go_in_several_zones() -> None:
    cluster = read_cluster()
    workers = [node for name, node in cluster["available_node_types"].items() if name != cluster["head_node_type"]]
    assert workers
    for node in workers:
        assert node["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert node["labels"]["ray.io/market-type"] == "spot"
        assert node["resources"]["GPU"] >= 1
        assert node["min_workers"] == 0 < node["max_workers"] <= cluster["max_workers"]
    assert len(cluster["provider"]["availability_zone"].split(",")) > 1


def test_ray_fills_in_no_setup_of_its_own() -> None:
    """Ray's defaults for AWS install a nightly Ray and open the dashboard, wherever a key is missing."""
    defaults = yaml.safe_load((SCHEMA.parent / "aws" / "defaults.yaml").read_text(encoding="utf-8"))
    commands = {key for key in defaults if key.endswith("_commands")}
    assert commands <= set(read_cluster())


def test_the_entrypoint_of_the_rayjob_is_a_command_that_passes_the_checks() -> None:
    config = load_entrypoint()
    assert config.model.name == "jhu-clsp/rank1-7b-awq"
    assert str(config.input.path).startswith("s3://")
    assert config.output.path.startswith("s3://")


def test_the_rayjob_has_room_for_the_replicas_it_asks_for() -> None:
    config = load_entrypoint()
    (workers,) = read_rayjob()["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = pod_specs()["worker"]["containers"]
    assert workers["maxReplicas"] == config.cluster.max_replicas
    assert container["resources"]["limits"]["nvidia.com/gpu"] == config.engine.gpus
    assert float(container["resources"]["limits"]["cpu"]) >= config.engine.cpus


def test_the_rayjob_is_retried_and_leaves_no_cluster_behind() -> None:
    job = read_rayjob()
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"]["backoffLimit"] == 3
    assert job["spec"]["shutdownAfterJobFinishes"] is True


def test_the_head_of_the_rayjob_takes_no_work() -> None:
    head = read_rayjob()["spec"]["rayClusterSpec"]["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"


def test_the_rayjob_runs_the_ray_that_the_image_has() -> None:
    assert read_rayjob()["spec"]["rayClusterSpec"]["rayVersion"] == ray.__version__


def test_every_node_runs_the_same_image() -> None:
    images = {container["image"] for pod in pod_specs().values() for container in pod["containers"]}
    assert images == {read_cluster()["docker"]["image"]}


def test_credentials_come_from_a_role_and_never_from_a_manifest() -> None:
    assert all(pod["serviceAccountName"] for pod in pod_specs().values())
    nodes = read_cluster()["available_node_types"].values()
    assert all(node["node_config"]["IamInstanceProfile"] for node in nodes)
    assert not any("env" in container for pod in pod_specs().values() for container in pod["containers"])


def test_the_nightly_job_makes_way_for_one_that_still_runs() -> None:
    nightly = read_nightly()
    spec = nightly["CronJob"]["spec"]
    (container,) = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert f"rayjob {read_rayjob()['metadata']['name']} " in container["args"][0]
    assert "generateName" not in read_rayjob()["metadata"]


def test_the_nightly_job_may_do_what_its_script_does() -> None:
    nightly = read_nightly()
    pod = nightly["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (rule,) = nightly["Role"]["rules"]
    script = pod["containers"][0]["args"][0]
    assert all(f"kubectl {verb}" in script for verb in rule["verbs"])
    assert nightly["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": pod["serviceAccountName"]}]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.name)
def test_no_manifest_opens_the_dashboard_to_all_addresses(manifest: Path) -> None:
    text = manifest.read_text(encoding="utf-8")
    assert "0.0.0.0" not in text
    assert "LoadBalancer" not in text
    assert "NodePort" not in text


def test_the_dashboard_of_the_cluster_stays_on_localhost() -> None:
    assert "--dashboard-host=127.0.0.1" in " ".join(read_cluster()["head_start_ray_commands"])


def test_the_job_server_of_the_rayjob_asks_for_a_token_and_has_no_address_outside() -> None:
    cluster = read_rayjob()["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert "dashboard-host" not in cluster["headGroupSpec"]["rayStartParams"]
    for pod in pod_specs().values():
        assert not pod.get("hostNetwork")
        assert not any("hostPort" in port for container in pod["containers"] for port in container.get("ports", ()))


def test_no_node_of_the_cluster_publishes_a_port_or_is_let_in_by_a_rule_of_ours() -> None:
    cluster = read_cluster()
    assert "security_group" not in cluster["provider"]
    assert not any(option.startswith(("-p", "--publish", "--net")) for option in cluster["docker"]["run_options"])
    assert "EXPOSE" not in (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")

"""The manifests for clusters are what their readers accept, and name settings that there are."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml

from rank1_batch.settings import RerankConfig, load_config
from tests.support.nodes import ENV
from tests.support.paths import ROOT

MANIFESTS = [ROOT / "cluster.yaml", *sorted((ROOT / "deploy").iterdir())]
SBATCH_SCRIPTS = [manifest for manifest in MANIFESTS if manifest.suffix == ".sbatch"]
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


def read_skypilot() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "deploy" / "skypilot.yaml").read_text(encoding="utf-8")))


def find_command(script: str) -> list[str]:
    """The words after `rank1-batch rerank` in a shell script, variables as they stand."""
    (command,) = re.findall(r"rank1-batch rerank ((?:.*\\\n)*.*)", script)
    return shlex.split(command.replace("\\\n", ""), comments=True)


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


def grace_times() -> list[float]:
    """Seconds that the driver, Ray and Kubernetes give, in this order."""
    pod = pod_specs()["head"]
    wait_s = yaml.safe_load(read_rayjob()["spec"]["runtimeEnvYAML"])["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"]
    return [load_entrypoint().run.grace_s, float(wait_s), float(pod["terminationGracePeriodSeconds"])]


def test_ray_and_kubernetes_wait_longer_for_the_driver_than_it_needs() -> None:
    assert grace_times() == sorted(set(grace_times()))
    worker = pod_specs()["worker"]
    assert worker["terminationGracePeriodSeconds"] == pod_specs()["head"]["terminationGracePeriodSeconds"]


def test_the_head_that_is_deleted_stops_the_job_of_this_manifest() -> None:
    (head,) = pod_specs()["head"]["containers"]
    command = head["lifecycle"]["preStop"]["exec"]["command"]
    assert [*command[:3], command[-1]] == ["ray", "job", "stop", read_rayjob()["spec"]["jobId"]]


def test_a_worker_that_is_deleted_waits_for_what_ray_calls_a_replica_and_not_for_itself() -> None:
    (worker,) = pod_specs()["worker"]["containers"]
    command = worker["lifecycle"]["preStop"]["exec"]["command"]
    (pattern,) = re.findall(r"grep -qs '(.*?)'", command[-1])
    assert re.search(pattern, "ray::MapWorker(MapBatches(Judge)).submit")  # as ps shows it with Ray 2.60
    assert not re.search(pattern, " ".join(command))


def test_a_stopped_job_of_the_cluster_has_its_grace() -> None:
    start = " ".join(read_cluster()["head_start_ray_commands"])
    (wait_s,) = re.findall(r"RAY_JOB_STOP_WAIT_TIME_S=(\d+) ray start --head", start)
    assert float(wait_s) > load_entrypoint().run.grace_s


@pytest.mark.parametrize("script", SBATCH_SCRIPTS, ids=lambda script: script.name)
def test_slurm_gives_notice_earlier_than_the_driver_needs(script: Path) -> None:
    (notice_s,) = re.findall(r"^#SBATCH --signal=B:USR1@(\d+) ", script.read_text(encoding="utf-8"), re.MULTILINE)
    assert float(notice_s) > load_entrypoint().run.grace_s


@pytest.mark.parametrize("script", SBATCH_SCRIPTS, ids=lambda script: script.name)
def test_the_settings_of_a_script_for_slurm_are_there(script: Path) -> None:
    words = find_command(script.read_text(encoding="utf-8"))
    names = {word.split("=")[0] for word in words if "=" in word}
    assert names <= {"input.path", "output.path", "cluster.address", "cluster.max_replicas"}
    assert names


def test_the_task_for_skypilot_is_a_command_that_passes_the_checks() -> None:
    task = read_skypilot()
    variables = {**task["envs"], "SKYPILOT_NUM_GPUS_PER_NODE": "1"}
    words = [re.sub(r"\$(\w+)", lambda name: variables[name[1]], word) for word in find_command(task["run"])]
    config = load_config(words)
    assert config.output.path.startswith("s3://")
    assert config.run.grace_s < 30, "sky jobs cancel kills 30 s after SIGTERM (SkyPilot 0.14.1)"
    assert task["resources"]["use_spot"] is True


def test_skypilot_and_apptainer_use_the_image_of_the_others() -> None:
    image = read_cluster()["docker"]["image"]
    recipe = (ROOT / "deploy" / "apptainer.def").read_text(encoding="utf-8")
    assert read_skypilot()["resources"]["image_id"] == f"docker:{image}"
    assert f"\nFrom: {image}\n" in recipe


def test_the_recipe_for_apptainer_tests_commands_that_there_are() -> None:
    recipe = (ROOT / "deploy" / "apptainer.def").read_text(encoding="utf-8")
    (section,) = re.findall(r"^%test\n((?:    .*\n)+)", recipe, re.MULTILINE)
    subprocess.run(["/usr/bin/bash", "-ec", section], check=True, capture_output=True, env=ENV)


def test_the_nightly_job_ends_if_the_cluster_does_not_answer() -> None:
    assert read_nightly()["CronJob"]["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] > 0
    assert 0 < read_rayjob()["spec"]["activeDeadlineSeconds"] < 24 * 3600


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

"""A SLURM cluster of its own: Debian's daemons on the machines of `nodes.py`, each with a network address.

The controller runs on the switch. Nothing of this machine's own SLURM, if it has one, is used.
"""

import secrets
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.nodes import SWITCH, Cluster, Machine, Node, run_cluster

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")

CONF = f"""
ClusterName=test
SlurmctldHost=switch({SWITCH})
SlurmUser=root
# A job that is requeued waits until the credentials of its last start are void: 120 s by default.
AuthInfo=cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SchedulerParameters=sched_interval=2,batch_sched_delay=0
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=5
StateSaveLocation=/run/slurmctld
SlurmdSpoolDir=/run/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
GresTypes=gpu
"""
"""GPUs are counted and not there, so that a script asks for them as it does elsewhere."""


class Slurm:
    """SLURM on some nodes that all see one folder, as a shared home: `folder`."""

    def __init__(self, cluster: Cluster, folder: Path, nodes: int) -> None:
        self._cluster, self.folder = cluster, folder
        self.nodes = [Node(cluster.switch, number, folder, [folder]) for number in range(1, nodes + 1)]
        cluster.machines += self.nodes
        self._env = ["env", f"SLURM_CONF={folder}/slurm.conf", "RES_OPTIONS=timeout:1 attempts:1"]
        self._write_files()
        for machine in (cluster.switch, *self.nodes):
            start_munge(machine, folder / "munge.key")
        cluster.switch.start([*self._env, "/usr/sbin/slurmctld", "-D"])
        for node in self.nodes:
            node.start([*self._env, "/usr/sbin/slurmd", "-D"])

    def run(self, *command: str) -> str:
        """What a command of SLURM's prints, typed on the first node in the shared folder."""
        return self.nodes[0].check(["bash", "-c", f"cd {self.folder} && {shlex.join([*self._env, *command])}"])

    def _write_files(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        (self.folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
        names = [f"NodeName={node.name} NodeAddr={node.address} CPUs=2 Gres=gpu:1" for node in self.nodes]
        (self.folder / "slurm.conf").write_text("\n".join([CONF, *names, "PartitionName=all Nodes=ALL Default=YES\n"]))


def start_munge(machine: Machine, key: Path) -> None:
    """Return when SLURM's commands on a machine can prove who they are."""
    places = ["--pid-file=/run/munge/pid", "--log-file=/run/munge/log", "--seed-file=/run/munge/seed"]
    machine.check(["mkdir", "-m", "755", "/run/munge"])
    machine.check(["/usr/sbin/munged", f"--key-file={key}", *places])


def check_packages() -> None:
    """Install what small images lack."""
    if not Path("/usr/sbin/slurmctld").exists():
        install = f"apt-get update && apt-get install --yes --no-install-recommends {' '.join(PACKAGES)}"
        subprocess.run(["/usr/bin/bash", "-c", install], check=True)


@contextmanager
def run_slurm(folder: Path, nodes: int) -> Iterator[Slurm]:
    """A SLURM cluster. Nothing of it is left afterwards but what lies in its folder."""
    check_packages()
    with run_cluster(folder) as cluster:
        yield Slurm(cluster, folder, nodes)

"""Jobs that are killed at random moments, and what became of their rows.

    python -m benchmarks.faults.campaign --kills 200 --seed 1
    python -m benchmarks.faults.campaign --kills 10 --engine vllm           # kills the engine's own process, too
    python -m benchmarks.faults.campaign --kills 20 --fault-share 0.1 --away-s 30

Each job judges pairs on S3 (SeaweedFS) on two Ray nodes, is killed several times, and started again by the same
command until it ends with exit code 0. The exit code is 1 where any promise was broken.
"""

import argparse
import json
import math
import random
import sys
import tempfile
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import s3fs

from benchmarks.faults.proxy import Faults, Proxy, run_proxy
from benchmarks.faults.site import LIMIT_S, ROOT, Site, environment, open_site
from tests.support.seaweed import KEY, SECRET, run_seaweed, wait_for
from tests.support.tiny_model import build_tiny_model, tiny_pairs

BUCKET = "campaign"
KINDS = ("driver", "actor", "node")
KILLS_A_JOB = 12
MOST_NEW_COMMITS = 3
"""A kill comes after 1 to 3 more units were committed, and up to half a second."""
MODEL_NOISE = 1e-3
"""How far scores of a real engine may differ between two runs: rows are batched with others."""


class Trial(NamedTuple):
    """What to do: jobs of `rows` rows in units of `unit_rows`, killed so many times."""

    kills: int
    seed: int
    engine: str = "scripted"
    rows: int = 480
    unit_rows: int = 8
    fault_share: float = 0.0
    away_s: float = 0.0


class Episode(NamedTuple):
    """What became of one job.

    `redone` are beginnings of units beyond the first of each; `in_flight` the units that had begun,
    and were not committed, in what was killed when it was killed: all that may be redone.
    """

    kills: dict[str, int]
    units: int
    redone: int
    in_flight: int
    rewritten: int
    lost_rows: int
    repeated_rows: int
    differing_rows: int
    retries: int

    def is_sound(self) -> bool:
        """Whether every promise was kept."""
        broken = self.rewritten, self.lost_rows, self.repeated_rows, self.differing_rows
        return not any(broken) and self.redone <= self.in_flight


class Place(NamedTuple):
    """Where a campaign finds its parts.

    `s3` reaches the server past the proxy; `reference` holds the rows of an undisturbed run by unit and number.
    """

    site: Site
    proxy: Proxy
    s3: s3fs.S3FileSystem
    folder: Path
    settings: list[str]
    reference: dict[tuple[str, int], dict[str, Any]]


def main(argv: Sequence[str]) -> int:
    """Run a campaign, a line of a table for each job; 0 where all promises were kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=["scripted", "vllm"], default="scripted")
    parser.add_argument("--rows", type=int, default=480, help="of each job")
    parser.add_argument("--fault-share", type=float, default=0.0, help="of the requests to the store")
    parser.add_argument("--away-s", type=float, default=0.0, help="how long the store goes away, once a job")
    options = parser.parse_args(argv)
    names = (*(field for field in Episode._fields if field != "kills"), "kills")
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")
    sound, kills = True, Counter[str]()
    for episode in run_campaign(Trial(**vars(options))):
        told = " ".join(f"{kind}:{count}" for kind, count in sorted(episode.kills.items()))
        print(f"| {' | '.join(str(getattr(episode, name)) for name in names[:-1])} | {told} |", flush=True)
        kills.update(episode.kills)
        sound = sound and episode.is_sound()
    print(f"\n{kills.total()} kills ({dict(kills)}): {'every promise was kept' if sound else 'PROMISES WERE BROKEN'}")
    return 0 if sound else 1


def run_campaign(trial: Trial) -> Iterator[Episode]:
    """Jobs, one after the other, until there were enough kills."""
    chance, done = random.Random(trial.seed), 0
    with open_place(trial) as place:
        while done < trial.kills:
            episode = run_episode(place, trial, min(KILLS_A_JOB, trial.kills - done), chance)
            yield episode
            done += sum(episode.kills.values())


@contextmanager
def open_place(trial: Trial) -> Iterator[Place]:
    """A store with pairs, a proxy before it, two nodes that find the store there, and what is to be expected."""
    faults = Faults(share=0, seed=trial.seed)
    with tempfile.TemporaryDirectory() as name, run_seaweed(Path(name)) as server, run_proxy(server, faults) as proxy:
        s3 = s3fs.S3FileSystem(
            endpoint_url=server, key=KEY, secret=SECRET, use_listings_cache=False, skip_instance_cache=True
        )
        s3.mkdir(BUCKET)
        for shard in range(3):
            pairs = pa.BufferOutputStream()
            pq.write_table(tiny_pairs(trial.rows // 3, seed=shard), pairs)
            s3.pipe_file(f"{BUCKET}/pairs/{shard}.parquet", pairs.getvalue().to_pybytes())
        variables = {"AWS_ENDPOINT_URL": proxy.url, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        variables |= {"AWS_DEFAULT_REGION": "us-east-1", "PYTHONPATH": str(ROOT)}
        with environment(variables), open_site(cpus=1) as site:
            place = Place(site, proxy, s3, Path(name), engine_settings(trial, Path(name)), {})
            undisturbed = Run(place, "reference")
            undisturbed.start("engine.args.seconds_per_token=0" if trial.engine == "scripted" else "cluster.replicas=1")
            undisturbed.wait_for_commits(math.inf)
            yield place._replace(reference=undisturbed.rows()[0])


def engine_settings(trial: Trial, folder: Path) -> list[str]:
    """Settings of a job in which several units are in flight, and none is done at once."""
    settings = ["model=custom", f"input.path=s3://{BUCKET}/pairs", f"input.unit_rows={trial.unit_rows}"]
    if trial.engine == "scripted":
        engine = ["model.name=none", "engine=scripted", "policy.max_thinking_tokens=150", "cluster.replicas=2"]
        return [*settings, *engine, "engine.max_num_seqs=4", "engine.args.seconds_per_token=0.01"]
    model = build_tiny_model(folder / "model")
    engine = [
        f"model.name={model}",
        "model.max_model_len=512",
        "engine=vllm_cpu",
        "engine.env.VLLM_CPU_KVCACHE_SPACE=1",
    ]
    return [*settings, *engine, "engine.max_num_seqs=8", "policy.max_thinking_tokens=24"]


class Run:
    """One job and its output: started, looked at, killed and started again."""

    def __init__(self, place: Place, name: str) -> None:
        self._place, self._output = place, f"{BUCKET}/{name}"
        self._log = place.folder / f"{name}.log"
        self._begun_before = Counter(place.site.starts())
        self._seen: dict[str, str] = {}
        self.rewritten: set[str] = set()
        self.in_flight = 0

    def start(self, *more: str) -> None:
        """Start the job, or start it again, by the same command."""
        settings = [*self._place.settings, f"output.path=s3://{self._output}", *more]
        self._settings, self._driver = settings, self._place.site.start_job(settings, self._log)

    def wait_for_commits(self, more: float) -> bool:
        """Return when so many more units are committed, or the job has ended: whether it goes on."""
        target = len(self._seen) + more
        limit_s = LIMIT_S if math.isfinite(more) else 4 * LIMIT_S
        wait_for(lambda: not self._goes_on() or self._look() >= target, f"stuck, see {self._log}", limit_s)
        if self._driver.poll() not in (None, 0):
            raise RuntimeError(f"exit code {self._driver.returncode}: {self._log.read_text()}")
        return self._goes_on()

    def kill(self, kind: str, where: float) -> bool:
        """SIGKILL a part of it, and start again where that was the driver: whether there was such a part."""
        self._look()
        committed = set(self._seen)
        victims = self._place.site.kill(kind, self._driver, where)
        if kind == "driver":
            self._driver = self._place.site.start_job(self._settings, self._log)
        begun = {unit for pid, unit in self._begun() if victims is not None and pid in victims}
        self.in_flight += len(begun - committed)
        return victims is not None

    def redone(self) -> int:
        """How often a unit was begun, beyond once."""
        begun = [unit for _, unit in self._begun().elements()]
        if not self._seen.keys() <= set(begun):
            raise RuntimeError("some units were committed whose beginning no log tells: nothing can be counted")
        return len(begun) - len(set(begun))

    def rows(self) -> tuple[dict[tuple[str, int], dict[str, Any]], int]:
        """All rows by unit and number, and how many there are twice."""
        self._look()
        tables = [pq.read_table(pa.BufferReader(self._place.s3.cat_file(self._path(unit)))) for unit in self._seen]
        rows = pa.concat_tables(tables).to_pylist()
        found = {(row["unit_id"], row["row"]): row for row in rows}
        return found, len(rows) - len(found)

    def retries(self) -> int:
        """Requests to the store that the last start of it repeated."""
        return int(json.loads(self._place.s3.cat_file(f"{self._output}/summary.json"))["this_run"]["storage_retries"])

    def _goes_on(self) -> bool:
        return self._driver.poll() is None

    def _begun(self) -> Counter[tuple[int, str]]:
        return Counter(self._place.site.starts()) - self._begun_before

    def _path(self, unit: str) -> str:
        return f"{self._output}/judgments/{unit}.parquet"

    def _look(self) -> int:
        """Note which units are committed, and which of them are not what they were when they were first seen."""
        found = self._place.s3.find(f"{self._output}/judgments", detail=True)
        for path, info in found.items():
            if info["type"] != "file":
                continue
            unit, identity = Path(path).stem, f"{info['ETag']} {info['LastModified']}"
            if self._seen.setdefault(unit, identity) != identity:
                self.rewritten.add(unit)
        return len(self._seen)


def run_episode(place: Place, trial: Trial, kills: int, chance: random.Random) -> Episode:
    """One job from its first start to its end, with so many kills, or as many as it lives to see."""
    kinds = (*KINDS, "engine") if trial.engine == "vllm" else KINDS
    run, killed = Run(place, uuid.uuid4().hex[:8]), Counter[str]()
    place.proxy.faults = place.proxy.faults._replace(share=trial.fault_share)
    run.start()
    while run.wait_for_commits(chance.randint(1, MOST_NEW_COMMITS) if killed.total() < kills else math.inf):
        kind = chance.choice(kinds)
        threading.Event().wait(chance.random() / 2)  # the random moment, not a guess at how long something takes
        if killed.total() == kills // 2 and trial.away_s and not killed["store"]:
            _go_away(place.proxy, trial.away_s)
            killed["store"] += 1
        elif run.kill(kind, chance.random()):
            killed[kind] += 1
    place.proxy.faults = place.proxy.faults._replace(share=0)
    return examine(run, place, trial, dict(killed))


def examine(run: Run, place: Place, trial: Trial, kills: dict[str, int]) -> Episode:
    """What became of a job that has ended."""
    rows, repeated = run.rows()
    both = rows.keys() & place.reference.keys()
    alike = _scores_alike if trial.engine == "vllm" else dict.__eq__
    return Episode(
        kills=kills,
        units=len({unit for unit, _ in rows}),
        redone=run.redone(),
        in_flight=run.in_flight,
        rewritten=len(run.rewritten),
        lost_rows=len(place.reference) - len(both),
        repeated_rows=repeated + len(rows) - len(both),
        differing_rows=sum(not alike(rows[key], place.reference[key]) for key in both),
        retries=run.retries(),
    )


def _scores_alike(mine: dict[str, Any], theirs: dict[str, Any]) -> bool:
    return mine["error"] is None and abs(mine["score"] - theirs["score"]) <= MODEL_NOISE


def _go_away(proxy: Proxy, seconds: float) -> None:
    proxy.go_away()
    threading.Timer(seconds, proxy.come_back).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

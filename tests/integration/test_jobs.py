"""Whole jobs as a user types them, on two Ray nodes, with the scripted engine (no model to load)."""

import getpass
import json
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from ray.cluster_utils import Cluster
from rich.console import Console

from rank1_batch.cluster import rank as rank_cluster
from rank1_batch.cluster.connect import connect
from rank1_batch.cluster.rank import rank_on_cluster
from rank1_batch.errors import Rank1BatchError
from rank1_batch.jobs.rerank import work
from rank1_batch.jobs.rerank.job import run_rerank
from rank1_batch.output.layout import PROMPT_KEY, judgments_path
from rank1_batch.output.plan import read_plan
from rank1_batch.output.ranking import RankedBucket, rank_units
from rank1_batch.settings import ClusterConfig, EngineConfig, load_config
from rank1_batch.storage.store import Store, open_store
from tests.support.seaweed import wait_for
from tests.support.tiny_model import tiny_pairs

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A Ray cluster of two nodes with one CPU each."""
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_AUTH_MODE", "disabled")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()
    patch.undo()


@pytest.fixture
def settings(address: str, tmp_path: Path) -> list[str]:
    """Settings of a job over three shards of 200 pairs."""
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    for shard in range(3):
        pq.write_table(tiny_pairs(200, seed=shard), pairs / f"{shard}.parquet", row_group_size=70)
    return [
        "model=custom", "model.name=none", "engine=scripted", "policy.max_thinking_tokens=150",
        f"input.path={pairs}", f"output.path={tmp_path / 'judged'}", f"cluster.address={address}",
    ]  # fmt: skip


def test_a_job_judges_every_row_on_both_nodes_and_twice_is_once(settings: list[str], run_job: Run) -> None:
    settings += ["engine.args.seconds_per_token=0.1"]  # long enough for both replicas to start
    settings += ["prompt=scifact"]
    code, printed = run_job(*settings, "cluster.replicas=2")
    assert code == 0, printed
    summary = read_summary(settings)
    assert (summary["rows"], summary["errors"], summary["this_run"]["nodes"]) == (600, 0, 2)
    assert summary["complete"] > 0
    assert summary["closed"] > 0
    assert summary["prompt"] == {"id": "scifact", "version": 1}
    for path in output(settings).glob("judgments/*.parquet"):
        assert json.loads(pq.read_metadata(path).metadata[PROMPT_KEY]) == summary["prompt"]
    rows = judged(settings)
    assert rows_of(rows) == sorted(planned(settings))
    assert all(0 <= score <= 1 for score in rows["score"].to_pylist())
    ranking = pq.read_table(output(settings) / "ranking")
    assert ranking.num_rows == 600
    before = {path: path.stat().st_mtime_ns for path in output(settings).rglob("*")}

    code, printed = run_job(*settings)
    assert code == 0, printed
    assert "nothing to do: all 600 rows are judged" in printed
    assert before == {path: path.stat().st_mtime_ns for path in output(settings).rglob("*")}


def test_a_job_without_an_address_starts_a_ray_of_its_own_beside_one_that_runs(
    settings: list[str], run_job: Run, tmp_path: Path
) -> None:
    """Ray takes the cluster that was started last on the machine, unless it is told not to."""
    there = run_job(*settings)[1]
    own = [setting for setting in settings if not setting.startswith(("cluster.address=", "output.path="))]
    code, printed = run_job(*own, f"output.path={tmp_path / 'own'}")
    assert code == 0, printed
    places = [re.findall(r"^logs: (.+)$", text, re.MULTILINE) for text in (there, printed)]
    assert len(places[0]) == len(places[1]) == 1
    assert places[0] != places[1]


def test_a_node_that_goes_away_while_a_job_starts_does_not_end_it(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray lists a node as alive until its heartbeats were missed for some seconds."""
    nodes: Callable[[], list[dict[str, Any]]] = ray.nodes

    def with_one_that_died() -> list[dict[str, Any]]:
        there = nodes()
        return [*there, {**there[0], "NodeID": "ab" * 28}]

    monkeypatch.setattr(ray, "nodes", with_one_that_died)
    with connect(ClusterConfig(address=address), EngineConfig()):
        assert len(ray.nodes()) == 3


def test_new_files_are_judged_by_the_same_command_and_changed_ones_refused(settings: list[str], run_job: Run) -> None:
    assert run_job(*settings)[0] == 0
    before = set(output(settings).glob("judgments/*.parquet"))
    pairs = Path(value(settings, "input.path"))
    pq.write_table(tiny_pairs(40, seed=9), pairs / "3.parquet")
    code, printed = run_job(*settings)
    assert code == 0, printed
    assert read_summary(settings)["rows"] == 640
    assert before < set(output(settings).glob("judgments/*.parquet"))
    pq.write_table(tiny_pairs(40, seed=8), pairs / "1.parquet")
    code, printed = run_job(*settings)
    assert code == 6
    assert "1.parquet changed" in printed


def test_a_job_of_many_rows_has_them_ranked_by_the_nodes(settings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "MOST_ROWS_RANKED_HERE", 100)
    asked = []

    def spy(store: Store, paths: Sequence[str], buckets: int, seen: Mapping[str, str]) -> Iterator[RankedBucket]:
        asked.append(len(paths))
        return rank_on_cluster(store, paths, buckets, seen)

    monkeypatch.setattr(rank_cluster, "rank_on_cluster", spy)
    with Path(os.devnull).open("w") as nowhere:
        outcome = run_rerank(load_config(settings), Console(file=nowhere))
    assert (outcome.exit_code, outcome.summary.queries) == (0, count_queries(settings))
    assert asked == [len(list(output(settings).glob("judgments/*.parquet")))]
    assert pq.read_table(output(settings) / "ranking").num_rows == 600


def test_the_nodes_write_the_same_ranking_as_the_driver_and_name_a_file_that_is_lost(
    settings: list[str], run_job: Run
) -> None:
    assert run_job(*settings)[0] == 0
    store = open_store(str(output(settings)))
    units = read_plan(store)
    here = rank_units(store, units, bucket_rows=50)
    before = read_ranking_files(settings)
    assert len(before) > 10
    lost = output(settings) / judgments_path(units[0].unit_id)
    with connect(ClusterConfig(address=value(settings, "cluster.address")), EngineConfig()):
        assert rank_units(store, units, bucket_rows=50, rank_buckets=rank_on_cluster) == here
        assert read_ranking_files(settings) == before
        lost.unlink()
        with pytest.raises(Rank1BatchError, match=lost.name):
            rank_units(store, units, bucket_rows=50, rank_buckets=rank_on_cluster)


def test_settings_that_shape_scores_may_not_change(settings: list[str], run_job: Run) -> None:
    assert run_job(*settings)[0] == 0
    code, printed = run_job(*settings, "policy.max_thinking_tokens=149", "model.dtype=float16")
    assert code == 6
    assert "policy.max_thinking_tokens: 150 there, 149 now" in printed
    assert "model.dtype: 'auto' there, 'float16' now" in printed
    code, printed = run_job(*settings, "run.fresh=true")
    assert code == 6
    assert "empty folder" in printed


def test_failing_rows_are_counted_and_too_many_end_the_job(settings: list[str], run_job: Run) -> None:
    fail = "engine.args.fail_on=' lamp '"
    code, printed = run_job(*settings, fail)
    assert code == 4, printed
    assert "output.max_error_rate=0.01" in printed
    committed = set(output(settings).glob("judgments/*.parquet"))
    assert committed
    code, printed = run_job(*settings, fail, "output.max_error_rate=1")
    assert code == 0, printed
    rows = judged(settings).to_pylist()
    failed = [row for row in rows if row["error"]]
    assert len(rows) == 600
    assert 0 < len(failed) == read_summary(settings)["errors"] < 600
    assert all(row["score"] is None and row["finish"] == "error" for row in failed)
    assert committed <= set(output(settings).glob("judgments/*.parquet"))


def test_a_row_that_kills_every_engine_is_set_aside_alone(settings: list[str], run_job: Run, tmp_path: Path) -> None:
    pairs = tiny_pairs(200).to_pylist()
    pairs[77]["passage"] = "poison"
    pq.write_table(pa.Table.from_pylist(pairs), tmp_path / "pairs" / "0.parquet")
    code, printed = run_job(*settings, "engine.args.die_on=poison", "output.max_error_rate=1", "input.unit_rows=20")
    assert code == 0, printed
    rows = judged(settings).to_pylist()
    (failed,) = (row for row in rows if row["error"])
    assert (len(rows), failed["row"]) == (600, 77)
    assert failed["error"].startswith("set aside: 3 engines or more died")


def test_a_second_run_is_refused_and_may_take_over_which_does_no_harm(
    settings: list[str], start_job: Callable[..., Any], run_job: Run
) -> None:
    slow = [*settings, "engine.args.seconds_per_token=0.05", "input.unit_rows=10", "engine.max_num_seqs=8"]
    first = start_job(*slow)
    wait_for(lambda: list(output(settings).glob("judgments/*.parquet")), "nothing was judged", 120)
    code, printed = run_job(*slow)
    assert code == 6, printed
    assert f"another run is at work: {getpass.getuser()}@{socket.gethostname()}, process {first.pid}" in printed
    assert first.poll() is None
    code, printed = run_job(*slow, "run.takeover=true", "engine.max_num_seqs=256")
    assert code == 0, printed
    printed = first.communicate(timeout=60)[0]
    assert first.returncode == 6, printed
    assert "another run took over" in printed
    assert rows_of(judged(settings)) == sorted(planned(settings))
    assert not (output(settings) / "_rank1" / "lease.json").exists()


def test_sigterm_ends_a_job_with_nothing_under_way_and_the_same_command_goes_on(
    settings: list[str], start_job: Callable[..., Any], run_job: Run
) -> None:
    slow = [*settings, "engine.args.seconds_per_token=0.02", "input.unit_rows=10", "engine.max_num_seqs=8"]
    job = start_job(*slow, "cluster.replicas=2")
    wait_for(lambda: list(output(settings).glob("judgments/*.parquet")), "nothing was judged", 120)
    job.terminate()
    printed = job.communicate(timeout=60)[0]
    assert job.returncode == 130, printed
    told = re.search(r"Stopped as requested: (\d+) units judged in this run, (\d+) left", printed)
    assert told, printed
    before = {path: path.stat().st_mtime_ns for path in output(settings).glob("judgments/*.parquet")}
    assert len(before) == int(told[1])  # a unit that was under way would have no receipt
    assert int(told[2]) > 0
    code, printed = run_job(
        *settings, "engine.args.seconds_per_token=0.02", "engine.max_num_seqs=256", "cluster.replicas=2"
    )
    assert code == 0, printed
    assert rows_of(judged(settings)) == sorted(planned(settings))
    assert before.items() <= {path: path.stat().st_mtime_ns for path in output(settings).glob("judgments/*")}.items()


def test_a_job_whose_ray_dies_says_so_and_may_be_run_again(
    settings: list[str], start_job: Callable[..., Any], run_job: Run
) -> None:
    """Ray's own code ends the process with exit code 1 and no word."""
    own = [setting for setting in settings if not setting.startswith("cluster.address=")]
    slow = [*own, "engine.args.seconds_per_token=0.02", "input.unit_rows=10", "engine.max_num_seqs=8"]
    job = start_job(*slow)
    wait_for(lambda: list(output(settings).glob("judgments/*.parquet")), "nothing was judged", 120)
    (raylet,) = [child for child in psutil.Process(job.pid).children() if child.name() == "raylet"]
    raylet.kill()
    printed = job.communicate(timeout=60)[0]
    assert job.returncode == 5, printed
    assert "error: the Ray process of this machine (raylet) has died" in printed
    code, printed = run_job(*settings, "engine.args.seconds_per_token=0.02")
    assert code == 0, printed
    assert rows_of(judged(settings)) == sorted(planned(settings))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_job_that_is_told_to_end_while_ray_starts_was_interrupted(
    settings: list[str], start_job: Callable[..., Any], number: int
) -> None:
    own = [setting for setting in settings if not setting.startswith("cluster.address=")]
    job = start_job(*own)
    assert "600 rows" in (job.stdout.readline())
    job.send_signal(number)
    printed = job.communicate(timeout=60)[0]
    assert job.returncode == 130, printed
    assert "interrupted" in printed
    assert not (output(settings) / "_rank1" / "lease.json").exists()


def test_rows_judged_again_are_as_if_they_had_been_given_the_larger_budget_at_once(
    settings: list[str], run_job: Run, tmp_path: Path
) -> None:
    assert run_job(*settings)[0] == 0
    first = judged(settings)
    closed = [row["trace_tokens"] for row in first.to_pylist() if row["finish"] == "closed"]
    assert closed
    where = ["where=finish = 'closed' and row % 2 = 0", "policy.max_thinking_tokens=1000"]
    place = [f"output.path={output(settings)}", f"cluster.address={value(settings, 'cluster.address')}"]
    code, printed = run_job(*place, *where, name="redo")
    assert code == 0, printed
    again = judged(settings)
    code, printed = run_job(*place, *where, name="redo")
    assert code == 0
    assert "nothing to do" in printed

    at_once = [*settings, "policy.max_thinking_tokens=1000", f"output.path={tmp_path / 'at_once'}"]
    assert run_job(*at_once)[0] == 0
    large = pq.read_table(tmp_path / "at_once" / "judgments")
    old, new, expected = (
        {(row["unit_id"], row["row"]): row for row in table.to_pylist()} for table in (first, again, large)
    )
    chosen = {key for key, row in old.items() if row["finish"] == "closed" and row["row"] % 2 == 0}
    assert new == {**old, **{key: expected[key] for key in chosen}}
    assert read_summary(settings)["closed"] == sum(row["finish"] == "closed" for row in new.values()) > 0
    assert pq.read_table(output(settings) / "ranking").num_rows == 600


def test_a_damaged_file_ends_the_job_or_is_left_out(settings: list[str], run_job: Run) -> None:
    damaged = Path(value(settings, "input.path")) / "1.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    code, printed = run_job(*settings)
    assert code == 2
    assert str(damaged) in printed
    assert not output(settings).exists()
    code, printed = run_job(*settings, "input.on_bad_file=skip")
    assert code == 3, printed
    assert read_summary(settings)["rows"] == 400
    assert str(damaged) in read_summary(settings)["bad_files"][0]


def test_a_page_that_cannot_be_read_is_found_by_the_judge(settings: list[str], run_job: Run) -> None:
    damaged = Path(value(settings, "input.path")) / "1.parquet"
    content = bytearray(damaged.read_bytes())
    content[100:1500] = bytes(1400)
    damaged.write_bytes(content)
    code, printed = run_job(*settings, "input.unit_rows=500")
    assert code == 2, printed
    assert str(damaged) in printed
    code, printed = run_job(*settings, "input.unit_rows=500", "input.on_bad_file=skip")
    assert code == 3, printed
    summary = read_summary(settings)
    assert 400 <= summary["rows"] == judged(settings).num_rows < 600
    assert str(damaged) in summary["bad_files"][0]


def test_a_row_with_a_list_of_candidates_gives_a_row_for_each(
    settings: list[str], run_job: Run, tmp_path: Path
) -> None:
    lists = [[{"id": f"d{i}", "body": f"text {i}", "title": "T"} for i in range(size)] for size in (3, 0, 5)]
    table = pa.table({"qid": [7, 8, 9], "query": ["a", "b", "c"], "candidates": lists, "source": ["x", "y", "z"]})
    (tmp_path / "nested").mkdir()
    pq.write_table(table, tmp_path / "nested" / "all.parquet")
    code, printed = run_job(
        *settings, f"input.path={tmp_path}/nested/*.parquet", "input.columns.query_id=qid",
        "input.columns.doc_id=id", "input.columns.passage=body", "input.keep=[source]",
    )  # fmt: skip
    assert code == 0, printed
    rows = judged(settings).sort_by([("row", "ascending"), ("candidate", "ascending")]).to_pylist()
    assert [(row["query_id"], row["doc_id"], row["source"]) for row in rows] == [
        *(("7", f"d{i}", "x") for i in range(3)),
        *(("9", f"d{i}", "z") for i in range(5)),
    ]


def value(settings: list[str], key: str) -> str:
    return next(setting.split("=", 1)[1] for setting in settings if setting.startswith(f"{key}="))


def output(settings: list[str]) -> Path:
    return Path(value(settings, "output.path"))


def read_summary(settings: list[str]) -> dict[str, Any]:
    return dict(json.loads((output(settings) / "summary.json").read_text()))


def read_ranking_files(settings: list[str]) -> dict[str, bytes]:
    files = [*(output(settings) / "ranking").iterdir(), output(settings) / "run.trec.gz"]
    return {path.name: path.read_bytes() for path in files}


def count_queries(settings: list[str]) -> int:
    return len(set(judged(settings)["query_id"].to_pylist()))


def judged(settings: list[str]) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(output(settings).glob("judgments/*.parquet")))


def rows_of(judgments: pa.Table) -> list[tuple[str, int]]:
    return sorted(zip(judgments["unit_id"].to_pylist(), judgments["row"].to_pylist(), strict=True))


def planned(settings: list[str]) -> list[tuple[str, int]]:
    units = pq.read_table(output(settings) / "_rank1" / "units.parquet").to_pylist()
    return [(unit["unit_id"], row) for unit in units for row in range(unit["row_start"], unit["row_stop"])]

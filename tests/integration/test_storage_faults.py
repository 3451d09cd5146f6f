"""A store that fails: a proxy with faults before a real S3 server, and a disk that is full or read-only."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs

from benchmarks.faults.proxy import FAULTS, Faults, Proxy, run_proxy
from rank1_batch.errors import BadFileError
from rank1_batch.storage.parquet import RowReader, read_footers
from rank1_batch.storage.retries import count_retries
from rank1_batch.storage.store import (
    create_bytes,
    delete_file,
    list_files,
    open_store,
    read_bytes,
    read_ranges,
    stat_file,
    write_bytes,
)
from tests.support.paths import ROOT
from tests.support.seaweed import wait_for
from tests.support.tiny_model import tiny_pairs

ROWS = 400
JOB = [
    "model=custom", "model.name=none", "engine=scripted", "policy.max_thinking_tokens=150",
    "engine.args.seconds_per_token=0.002", "engine.max_num_seqs=4", "input.unit_rows=10",
]  # fmt: skip
FASTER = "engine.max_num_seqs=256"
Run = Callable[..., tuple[int, str]]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def proxy(s3: s3fs.S3FileSystem, bucket: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy without faults, at which jobs and stores opened by the test find the server."""
    with run_proxy(s3_endpoint, Faults(share=0)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        s3fs.S3FileSystem.clear_instance_cache()
        yield proxy
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def settings(s3: s3fs.S3FileSystem, bucket: str) -> list[str]:
    """A job of twenty seconds' work in units of ten rows."""
    with s3.open(f"{bucket}/pairs/0.parquet", "wb") as file:
        pq.write_table(tiny_pairs(ROWS), file, row_group_size=70)
    return [*JOB, f"input.path={bucket}/pairs", f"output.path={bucket}/judged"]


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store counts as gone after five seconds."""
    monkeypatch.setenv("RANK1_BATCH_STORE_TIMEOUT_S", "5")


@pytest.mark.parametrize("kind", [kind for kind in FAULTS if kind != "hang"])
def test_every_request_gets_its_answer_where_a_third_of_them_meet_a_fault(proxy: Proxy, bucket: str, kind: str) -> None:
    """What comes back is right: nothing cut, nothing missing, nothing written twice."""
    store, before = open_store(f"{bucket}/deep"), count_retries()
    table = tiny_pairs(300)
    proxy.faults = Faults(share=0.3, kinds=(kind,), delay_s=0.05)
    for number in range(10):
        write_bytes(store, f"files/{number}", b"%d" % number * 1000)
    assert create_bytes(store, "created", b"once") is True
    assert create_bytes(store, "created", b"twice") is False
    with pa.BufferOutputStream() as sink:
        pq.write_table(table, sink, row_group_size=50)
        write_bytes(store, "table.parquet", sink.getvalue().to_pybytes())
    assert len(list_files(store)) == 12
    assert read_bytes(store, "created") == b"once"
    assert read_ranges(store, [(f"files/{number}", 10, 20) for number in range(10)]) == [
        b"%d" % number * 10 for number in range(10)
    ]
    (footer,) = read_footers(store, [file for file in list_files(store) if file.path == "table.parquet"])
    assert not isinstance(footer, BadFileError)
    assert footer.num_rows == 300
    reader = RowReader(store, "table.parquet")
    assert reader.read(20, 280, table.column_names).equals(table.slice(20, 260))
    delete_file(store, "created")
    assert stat_file(store, "created") is None
    assert proxy.counts[kind] > 5
    assert (count_retries() > before) == (kind != "delay")


def test_a_request_that_is_never_answered_is_sent_again(proxy: Proxy, bucket: str) -> None:
    store = open_store(bucket)
    write_bytes(store, "x", b"content")
    found: list[bytes | None] = []
    proxy.faults = Faults(share=1, kinds=("hang",), hang_s=300)
    reading = threading.Thread(target=lambda: found.append(read_bytes(store, "x")))
    reading.start()
    wait_for(lambda: proxy.counts["hang"], "nothing was asked")
    proxy.faults = Faults(share=0)
    reading.join(60)
    assert found == [b"content"]


def test_a_job_ends_green_where_requests_fail_and_the_store_is_away_for_a_while(
    proxy: Proxy, settings: list[str], s3: s3fs.S3FileSystem, bucket: str, start_job: Start
) -> None:
    """One request in ten fails, and for ten seconds all of them: every row is judged, and retries are told."""
    proxy.faults = Faults(share=0.1, delay_s=0.5, hang_s=2)
    job = start_job(*settings)
    wait_for(lambda: job.poll() is not None or len(committed(s3, bucket)) >= 3, "nothing was judged", 250)
    proxy.go_away()
    timer = threading.Timer(10, proxy.come_back)
    timer.start()
    printed, _ = job.communicate(timeout=250)
    timer.join()
    assert job.returncode == 0, printed
    retries = read_summary(s3, bucket)["this_run"]["storage_retries"]
    assert retries >= 5
    assert f"{retries} requests were repeated" in printed
    check_rows(s3, bucket)


@pytest.mark.timeout(600)  # three jobs on a machine that may be busy
@pytest.mark.usefixtures("short_patience")
def test_a_store_that_stays_away_or_refuses_ends_the_job_and_the_same_command_goes_on(
    proxy: Proxy, settings: list[str], s3: s3fs.S3FileSystem, bucket: str, start_job: Start
) -> None:
    """Also where credentials run out in mid-run: 403 ExpiredToken is no mistake in the settings then."""

    def work_until(trouble: Callable[[], None]) -> tuple[str, dict[str, str]]:
        known = len(committed(s3, bucket))
        job = start_job(*settings)
        wait_for(lambda: job.poll() is not None or len(committed(s3, bucket)) >= known + 3, "nothing was judged", 250)
        trouble()
        printed, _ = job.communicate(timeout=250)
        assert job.returncode == 5, printed
        assert "Traceback" not in printed
        assert f"{bucket}/" in printed  # the file that was asked for, of the input or of the output
        found = committed(s3, bucket)
        assert known + 3 <= len(found) < ROWS // 10
        return printed, found

    printed, first = work_until(proxy.go_away)
    assert "could not connect to" in printed
    assert "stamina" not in printed
    proxy.come_back()
    printed, second = work_until(lambda: setattr(proxy, "refuses", True))
    assert "no permission" in printed
    proxy.refuses = False
    job = start_job(*settings, FASTER)
    printed, _ = job.communicate(timeout=250)
    assert job.returncode == 0, printed
    assert first.items() < second.items() < committed(s3, bucket).items()
    check_rows(s3, bucket)


DISK_SCRIPT = """
set -eu
disk={disk}
mount -t tmpfs -o size=1m tmpfs $disk
fill_up() {{ dd if=/dev/zero of=$disk/ballast bs=1k 2>/dev/null || true; }}
make_read_only() {{ until mount -o remount,ro $disk 2>/dev/null; do :; done; }}
count() {{ ls $disk/judged/judgments 2>/dev/null | wc -l; }}
work_until() {{
    known=$(count); code=0; {job} > $disk.$1 2>&1 & job=$!
    until [ $(count) -ge $((known + 3)) ] || ! kill -0 $job 2>/dev/null; do read -rt 0.1 <> <(:) || true; done
    $1
    wait $job || code=$?
    echo $code
    cp -r $disk/judged $disk.after_$1
    mount -o remount,rw,size=100m $disk
    rm -f $disk/ballast
}}
work_until fill_up
work_until make_read_only
{job} {faster} > $disk.end 2>&1 && echo 0
cp -r $disk/judged $disk.after_end
"""
UNSHARE = shutil.which("unshare") or "unshare"


@pytest.mark.skipif(
    subprocess.run([UNSHARE, "-rm", "true"], capture_output=True, check=False).returncode != 0,
    reason="mounting a small disk needs user namespaces, which this machine does not allow",
)
def test_a_disk_that_is_full_or_read_only_ends_the_job_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """On a small disk of the test's own, in a mount namespace: no right is needed that a user has not."""
    pq.write_table(tiny_pairs(ROWS), tmp_path / "pairs.parquet")
    disk = tmp_path / "disk"
    disk.mkdir()
    paths = f"input.path={tmp_path / 'pairs.parquet'} output.path={disk / 'judged'}"
    job = f"{sys.executable} -m jobs.rerank {' '.join(JOB)} {paths}"
    script = DISK_SCRIPT.format(disk=disk, job=job, faster=FASTER)
    done = subprocess.run(
        [UNSHARE, "-rm", "bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    steps = ("fill_up", "make_read_only", "end")
    printed = {step: Path(f"{disk}.{step}").read_text() for step in steps if Path(f"{disk}.{step}").exists()}
    assert done.stdout.split() == ["5", "5", "0"], (done.stderr, printed)
    for step, words in {"fill_up": "No space left on device", "make_read_only": "Read-only file system"}.items():
        assert "Traceback" not in printed[step]
        assert f"{disk / 'judged'}" in printed[step]
        assert words in printed[step]
    full, read_only, end = (read_folder(Path(f"{disk}.after_{step}") / "judgments") for step in steps)
    assert 3 <= len(full) < len(read_only) < ROWS // 10
    assert full.items() < read_only.items() < end.items()
    assert sum(pq.read_metadata(pa.BufferReader(content)).num_rows for content in end.values()) == ROWS


def committed(s3: s3fs.S3FileSystem, bucket: str) -> dict[str, str]:
    """Committed files, with what changes when they are written again."""
    found = s3.find(f"{bucket}/judged/judgments", detail=True).values()
    return {info["name"]: info["ETag"] + str(info["LastModified"]) for info in found if info["type"] == "file"}


def read_folder(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def read_summary(s3: s3fs.S3FileSystem, bucket: str) -> dict[str, Any]:
    return dict(json.loads(s3.cat_file(f"{bucket}/judged/summary.json")))


def check_rows(s3: s3fs.S3FileSystem, bucket: str) -> None:
    """Each row is there once, with a score."""
    tables = [pq.read_table(pa.BufferReader(s3.cat_file(name))) for name in committed(s3, bucket)]
    rows = pa.concat_tables(tables)
    assert sorted(rows["row"].to_pylist()) == list(range(ROWS))
    assert rows["error"].null_count == ROWS
    assert rows["score"].null_count == 0

"""No key is written anywhere, and nothing of Ray that runs what it is sent is open to the network."""

import io
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
import s3fs

from tests.support.seaweed import KEY, SECRET, wait_for
from tests.support.tiny_model import tiny_pairs

Start = Callable[..., "subprocess.Popen[str]"]
LOCAL = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.mark.timeout(600)  # a whole job on a machine that may be busy
def test_a_job_writes_its_keys_nowhere_and_opens_no_dashboard(
    s3: s3fs.S3FileSystem, bucket: str, start_job: Start, tmp_path: Path
) -> None:
    """Looked through: what is printed, all that Ray and the replicas log, and every object of the output."""
    with s3.open(f"{bucket}/pairs/0.parquet", "wb") as file:
        pq.write_table(tiny_pairs(40), file)
    job = start_job(
        "model=custom", "model.name=none", "engine=scripted", "policy.max_thinking_tokens=150", "input.unit_rows=10",
        "engine.max_num_seqs=2", "engine.args.seconds_per_token=0.005",
        f"input.path={bucket}/pairs", f"output.path={bucket}/judged",
    )  # fmt: skip
    wait_for(lambda: job.poll() is not None or s3.exists(f"{bucket}/judged/judgments"), "nothing was judged", 250)
    assert job.poll() is None, job.communicate()[0]
    opened = dict(find_open(job.pid))
    printed, _ = job.communicate(timeout=250)
    assert job.returncode == 0, printed
    assert opened == {}

    logs = re.search(r"^logs: (.+)$", printed, re.MULTILINE)
    assert logs
    session = Path(logs[1]).parent
    texts = {"printed": printed.encode()}
    texts |= {str(path): path.read_bytes() for path in session.rglob("*") if path.is_file()}
    texts |= {name: b"".join(read_plainly(s3.cat_file(name))) for name in s3.find(f"{bucket}/judged")}
    assert any("worker-" in name for name in texts)
    assert any(b"judged unit=" in text for text in texts.values())
    assert f"{bucket.removeprefix('s3://')}/judged/_rank1/job.json" in texts
    written = [name for name, text in texts.items() if SECRET.encode() in text or KEY.encode() in text]
    assert written == []


def find_open(job: int) -> Iterator[tuple[str, str]]:
    """Each place other than this machine's own at which a dashboard or job server of the job's Ray listens."""
    for process in psutil.Process(job).children(recursive=True):
        try:
            title, sockets = " ".join(process.cmdline()), process.net_connections("tcp")
        except psutil.Error:
            continue
        if "dashboard/dashboard.py" in title:
            yield from (
                (title, f"{socket.laddr.ip}:{socket.laddr.port}")
                for socket in sockets
                if socket.status == psutil.CONN_LISTEN and socket.laddr.ip not in LOCAL
            )


def read_plainly(content: bytes) -> Iterator[bytes]:
    """An object as it is, and what its Parquet columns and metadata say: these are compressed."""
    yield content
    if content[:4] == b"PAR1":
        table = pq.read_table(io.BytesIO(content))
        yield repr(table.schema.metadata).encode()
        yield repr(table.to_pylist()).encode()

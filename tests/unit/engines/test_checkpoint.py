"""Which commit or which files a model's name means. Nothing here asks the real hub."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants as hub
import pytest
from huggingface_hub import try_to_load_from_cache

from rank1_batch.engines.checkpoint import REMEMBERED_BYTES, find_commit, hash_folder
from rank1_batch.errors import ReplicaError, SettingsError
from rank1_batch.settings import ModelConfig

MAIN, BRANCH, CACHED = "a" * 40, "b" * 40, "c" * 40

NOBODY = "http://127.0.0.1:9"


def model(name: str = "some/model", revision: str | None = None) -> ModelConfig:
    return ModelConfig(name=name, revision=revision, max_model_len=100)


class Hub(BaseHTTPRequestHandler):
    """A hub with one model, which has two branches."""

    def do_GET(self) -> None:
        commits = {"/api/models/some/model": MAIN, "/api/models/some/model/revision/v2": BRANCH}
        found = commits.get(self.path.partition("?")[0])
        self.send_response(200 if found else 404)
        if not found:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        self.wfile.write(json.dumps({"id": "some/model", "sha": found} if found else {"error": "?"}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    """The address of the hub."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of models."""
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def use_hub(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", endpoint)


def keep_snapshot(cache: Path) -> None:
    """What a download of the main branch leaves."""
    folder = cache / "models--some--model"
    (folder / "snapshots" / CACHED).mkdir(parents=True)
    (folder / "snapshots" / CACHED / "config.json").write_text("{}")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(CACHED)


def test_a_branch_is_the_commit_that_the_hub_says(endpoint: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_hub(endpoint, monkeypatch)
    keep_snapshot(cache)
    assert find_commit(model()) == (MAIN, "as the hub says")
    assert find_commit(model(revision="v2")).sha == BRANCH


def test_a_commit_is_asked_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    use_hub(NOBODY, monkeypatch)
    assert find_commit(model(revision=MAIN)).sha == MAIN


def test_where_the_hub_does_not_answer_the_snapshot_of_this_machine_counts(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub(NOBODY, monkeypatch)
    keep_snapshot(cache)
    assert try_to_load_from_cache("some/model", "config.json") is not None
    commit = find_commit(model())
    assert commit.sha == CACHED
    assert commit.source.startswith("from this machine's cache, as the hub did not say (")


@pytest.mark.parametrize(("name", "kind"), [("some/model", ReplicaError), ("no such name!", SettingsError)])
def test_where_nobody_knows_the_commit_it_says_what_to_do(
    cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: type[Exception]
) -> None:
    """A hub that is away is no fault of the settings: the same command may work later."""
    use_hub(NOBODY, monkeypatch)
    with pytest.raises(kind, match=rf"model\.name={name}: the hub did not say .*Give a commit"):
        find_commit(model(name))


def test_a_model_that_the_hub_does_not_have_is_told(
    endpoint: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub(endpoint, monkeypatch)
    with pytest.raises(SettingsError, match=r"the hub did not say which commit v2 is \(.*404"):
        find_commit(model("some/typo", "v2"))


def test_a_folder_that_is_not_there_is_no_model_of_the_hub() -> None:
    with pytest.raises(SettingsError, match=r"there is no folder /no/such on this machine"):
        find_commit(model("/no/such"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint with a large file, and an empty memory of digests."""
    monkeypatch.setenv("RANK1_BATCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    (folder / "more").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"w" * REMEMBERED_BYTES)
    return folder


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors", "more/vocab.txt"])
def test_a_folder_is_known_by_the_content_of_its_files(folder: Path, name: str) -> None:
    (folder / "more" / "vocab.txt").write_text("a b c")
    before = hash_folder(folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + b"X")
    os.utime(folder / name, ns=(1, 1))
    assert hash_folder(folder) != before


def test_what_is_no_part_of_a_model_does_not_count(folder: Path) -> None:
    before = hash_folder(folder)
    (folder / "README.md").write_text("read me")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "downloaded.json").write_text("{}")
    assert hash_folder(folder) == before


def test_a_large_file_is_read_once(folder: Path) -> None:
    """A file of weights that has the same size and time of change is not read again."""
    before = hash_folder(folder)
    weights = folder / "model.safetensors"
    changed_at = weights.stat().st_mtime_ns
    weights.write_bytes(b"v" * REMEMBERED_BYTES)
    os.utime(weights, ns=(changed_at, changed_at))
    assert hash_folder(folder) == before
    os.utime(weights, ns=(changed_at + 1, changed_at + 1))
    assert hash_folder(folder) != before


def test_a_machine_without_a_place_for_the_memory_reads_again(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert hash_folder(folder) == hash_folder(folder)

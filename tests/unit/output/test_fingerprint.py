import functools
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem

from rank1_batch.errors import RefusedError
from rank1_batch.output.fingerprint import build_fingerprint, check_output, check_same_job, claim_output
from rank1_batch.settings import RerankConfig, load_config
from rank1_batch.storage.parquet import to_parquet
from rank1_batch.storage.store import Store, list_files, open_store, write_bytes

TABLE = pa.table({"score": [0.1, 0.2, 0.3], "trace": ["a", "b", "c"]})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "output"))


@functools.cache
def settings(*overrides: str) -> RerankConfig:
    return load_config(["input.path=in", "output.path=out", "engine=scripted", *overrides])


def begin(store: Store, fingerprint: dict[str, object], *, fresh: bool = False) -> None:
    """What a run does before its first unit."""
    check_output(store, fingerprint, fresh=fresh)
    claim_output(store, fingerprint)


def test_an_empty_place_is_claimed_once_and_gone_on_with_afterwards(store: Store) -> None:
    begin(store, {"a": 1})
    before = list_files(store)
    begin(store, {"a": 1})
    assert list_files(store) == before


def test_of_two_jobs_that_start_together_one_claims_the_output(store: Store) -> None:
    def claim(job: int) -> bool:
        try:
            begin(store, {"a": job})
        except RefusedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(claim, range(8)))
    assert sorted(claimed) == [False] * 7 + [True]


class OvertakenFileSystem(LocalFileSystem):
    """Lets something else happen right after a file was not found."""

    cachable = False

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: object) -> bytes:
        try:
            return bytes(super().cat_file(path, start, end, **kwargs))
        except FileNotFoundError:
            self._meanwhile()
            raise


def test_a_run_that_is_overtaken_between_looking_and_claiming_goes_on_with_the_others_job(store: Store) -> None:
    def claim_first() -> None:
        begin(store, {"a": 1})

    overtaken = Store(OvertakenFileSystem(claim_first), store.root, store.url)
    begin(overtaken, {"a": 1})


def test_another_jobs_output_is_refused_with_every_setting_that_differs(store: Store) -> None:
    begin(store, {"model": {"name": "7b", "dtype": "auto"}, "rules": 1, "keep": []})
    with pytest.raises(RefusedError) as caught:
        begin(store, {"model": {"name": "14b", "dtype": "auto"}, "rules": 1, "keep": ["x"]})
    text = str(caught.value)
    assert "model.name: '7b' there, '14b' now" in text
    assert "keep: [] there, ['x'] now" in text
    assert "dtype" not in text
    assert "rules" not in text


def test_files_of_no_job_of_ours_are_never_mixed_with(store: Store) -> None:
    write_bytes(store, "thesis.tex", b"")
    with pytest.raises(RefusedError, match=r"thesis\.tex"):
        begin(store, {})
    assert [file.path for file in list_files(store)] == ["thesis.tex"]


def test_hidden_files_do_not_count_as_files(store: Store) -> None:
    write_bytes(store, ".DS_Store", b"")
    begin(store, {}, fresh=True)


def test_a_fresh_start_wants_an_empty_place(store: Store) -> None:
    begin(store, {"a": 1}, fresh=True)
    with pytest.raises(RefusedError, match="fresh"):
        begin(store, {"a": 1}, fresh=True)


def test_a_setting_that_only_one_of_both_has_differs() -> None:
    with pytest.raises(RefusedError, match=r"args\.seed: None there, 3 now"):
        check_same_job("out", {"args": {}}, {"args": {"seed": 3}})


@pytest.mark.parametrize(
    "override",
    [
        "model=rank1_7b_awq",
        "model.revision=abc",
        "model.dtype=float32",
        "model.quantization=awq",
        "model.max_model_len=12000",
        "prompt.version=2",
        "prompt.dataset_prompt=Claim: FILL_QUERY_HERE",
        "policy=no_think",
        "policy.max_thinking_tokens=7",
        "input.columns={passage: body}",
        "input.keep=[lang]",
        "engine.args={seconds_per_token: 1}",
    ],
)
def test_whatever_shapes_the_rows_is_in_the_fingerprint(override: str) -> None:
    base = settings("model=custom", "model.name=some/model")
    other = settings("model=custom", "model.name=some/model", override)
    with pytest.raises(RefusedError):
        check_same_job("out", build_fingerprint(base), build_fingerprint(other))


def test_what_cannot_change_a_score_may_change_between_runs() -> None:
    other = settings("cluster.replicas=4", "run.log_every_s=1", "output.max_error_rate=1", "input.unit_rows=7")
    check_same_job("out", build_fingerprint(settings()), build_fingerprint(other))


def test_a_fingerprint_can_be_written_and_read_as_it_is() -> None:
    fingerprint = build_fingerprint(settings())
    assert json.loads(json.dumps(fingerprint)) == fingerprint


def test_a_local_model_is_known_by_its_content_not_by_its_place(tmp_path: Path) -> None:
    fingerprints = []
    for place, heads in (("here", 8), ("there", 8), ("else", 16)):
        folder = tmp_path / place / "model"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"heads": heads}))
        (folder / "model.safetensors").write_bytes(b"weights")
        fingerprints.append(build_fingerprint(settings("model=custom", f"model.name={folder}")))
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_a_table_is_put_as_a_parquet_file_that_anyone_can_read() -> None:
    assert pq.read_table(io.BytesIO(to_parquet(TABLE))).equals(TABLE)

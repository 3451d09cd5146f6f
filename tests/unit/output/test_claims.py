from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from rank1_batch.errors import RefusedError
from rank1_batch.output.claims import Claim, Owner, check_claim, check_same, write_claim
from rank1_batch.storage.store import Store, list_files, open_store, write_bytes


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "output"))


OWNER = Owner("jobs.rerank", "output.path", "_rank1/job.json")


def begin(store: Store, claim: Claim) -> None:
    """What a job does before it writes anything else."""
    check_claim(store, OWNER, claim)
    write_claim(store, OWNER, claim)


def test_an_empty_place_is_claimed_once_and_continued_afterwards(store: Store) -> None:
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


def test_a_run_that_is_overtaken_between_looking_and_claiming_continues_the_others_job(store: Store) -> None:
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


def test_files_that_the_job_did_not_write_are_never_mixed_with(store: Store) -> None:
    write_bytes(store, "thesis.tex", b"")
    with pytest.raises(RefusedError, match=r"thesis\.tex"):
        begin(store, {})
    assert [file.path for file in list_files(store)] == ["thesis.tex"]


def test_hidden_files_do_not_count_as_files(store: Store) -> None:
    write_bytes(store, ".DS_Store", b"")
    begin(store, {})


def test_a_setting_that_only_one_of_both_has_differs(store: Store) -> None:
    with pytest.raises(RefusedError, match=r"args\.seed: None there, 3 now"):
        check_same(store, OWNER, {"args": {}}, {"args": {"seed": 3}})

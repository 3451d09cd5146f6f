"""What a run finds in its output before anything is spent, and what it claims."""

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from rank1_batch.errors import RefusedError
from rank1_batch.jobs.rerank.job import run_rerank
from rank1_batch.jobs.rerank.work import claim_work, find_work
from rank1_batch.judging.records import failed_judgment
from rank1_batch.output.claims import read_claim
from rank1_batch.output.commits import commit_unit
from rank1_batch.output.counts import Counts
from rank1_batch.output.fingerprint import RERANK
from rank1_batch.output.lease import LEASE_PATH
from rank1_batch.output.notes.kept import keep_rows
from rank1_batch.output.plan import read_plan
from rank1_batch.pairs.reader import UnitReader
from rank1_batch.settings import RerankConfig, load_config
from rank1_batch.storage.store import open_store, write_bytes
from tests.support.scripted import judge_here
from tests.support.tiny_model import tiny_pairs


def settings(folder: Path, pairs: str = "pairs", name: str = "none") -> RerankConfig:
    if not (folder / pairs).exists():
        (folder / pairs).mkdir()
        pq.write_table(tiny_pairs(20), folder / pairs / f"{pairs}.parquet")
    places = [f"input.path={folder / pairs}", f"output.path={folder / 'judged'}"]
    return load_config(["model=custom", f"model.name={name}", "engine=scripted", *places])


def test_a_first_try_in_which_nothing_was_judged_does_not_own_its_output(tmp_path: Path) -> None:
    typo, meant = settings(tmp_path, "wrong", name="ronk1"), settings(tmp_path, name="rank1")
    claim_work(find_work(typo), typo)
    work = claim_work(find_work(meant), meant)
    assert read_plan(work.output) == work.units
    assert {unit.path for unit in work.units} == {"pairs.parquet"}
    assert (read_claim(work.output, RERANK) or {})["model"]["name"] == "rank1"


def test_an_output_whose_job_was_killed_is_not_claimed_anew(tmp_path: Path) -> None:
    """Its replicas may still commit."""
    typo, meant = settings(tmp_path, name="ronk1"), settings(tmp_path, name="rank1")
    work = claim_work(find_work(typo), typo)
    lease = '{"run_id": "a", "host": "h", "user": "u", "pid": 1, "place": "p", "started_at": 1, "renewed_at": 1}'
    write_bytes(work.output, LEASE_PATH, lease.encode())
    with pytest.raises(RefusedError, match=r"model\.name"):
        find_work(meant)


def test_an_output_with_judgments_belongs_to_its_settings(tmp_path: Path) -> None:
    typo, meant = settings(tmp_path, name="ronk1"), settings(tmp_path, name="rank1")
    work = find_work(meant)
    claim_work(find_work(typo), typo)
    unit = read_plan(work.output)[0]
    commit_unit(open_store(typo.output.path), unit, tiny_pairs(20), Counts(rows=20))
    with pytest.raises(RefusedError, match=r"model\.name"):
        find_work(meant)
    with pytest.raises(RefusedError, match=r"model\.name"):
        claim_work(work, meant)


def test_an_output_with_rows_of_a_unit_under_way_belongs_to_its_settings(tmp_path: Path) -> None:
    typo, meant = settings(tmp_path, name="ronk1"), settings(tmp_path, name="rank1")
    work = claim_work(find_work(typo), typo)
    keep_rows(work.output, work.units[0].unit_id, 0, {0: failed_judgment("no text")})
    with pytest.raises(RefusedError, match=r"model\.name"):
        find_work(meant)


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("run.trec.gz", None),
        ("ranking/part-00000.parquet", None),
        ("ranking/part-00000.parquet", b""),
        ("ranking/part-00000.parquet", b"PAR1"),
    ],
)
def test_a_ranking_that_is_gone_or_damaged_is_made_anew(tmp_path: Path, path: str, data: bytes | None) -> None:
    (tmp_path / "pairs").mkdir()
    pq.write_table(tiny_pairs(20), tmp_path / "pairs" / "pairs.parquet")
    config = judge_here(f"input.path={tmp_path / 'pairs'}", f"output.path={tmp_path / 'judged'}")
    silent = Console(quiet=True)
    assert not run_rerank(config, silent).nothing_to_do
    assert run_rerank(config, silent).nothing_to_do
    file = tmp_path / "judged" / path
    before = file.read_bytes()
    if data is None:
        file.unlink()
    else:
        file.write_bytes(data)
    assert not run_rerank(config, silent).nothing_to_do
    assert file.read_bytes() == before


def test_the_pending_units_of_a_moved_input_are_read_where_they_are_now(tmp_path: Path) -> None:
    here = settings(tmp_path)
    here.input.unit_rows = 10
    output = claim_work(find_work(here), here).output
    first, second = read_plan(output)
    commit_unit(output, first, tiny_pairs(first.pairs), Counts(rows=first.pairs))
    (tmp_path / "moved" / "in").mkdir(parents=True)
    (tmp_path / "pairs" / "pairs.parquet").rename(tmp_path / "moved" / "in" / "pairs.parquet")
    os.utime(tmp_path / "moved" / "in" / "pairs.parquet", ns=(1, 1))
    pq.write_table(tiny_pairs(5), tmp_path / "moved" / "more.parquet")
    there = settings(tmp_path, "moved")
    work = claim_work(find_work(there), there)
    assert work.units[:2] == [first, second]
    assert [unit.path for unit in work.pending] == ["in/pairs.parquet", "more.parquet"]
    assert work.pending[0].unit_id == second.unit_id
    rows, _ = UnitReader(open_store(work.input_url), {}, ()).read(work.pending[0])
    assert len(rows) == second.pairs


def test_bad_files_that_come_after_the_end_are_named(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    pq.write_table(tiny_pairs(20), tmp_path / "pairs" / "pairs.parquet")
    places = (f"input.path={tmp_path / 'pairs'}", f"output.path={tmp_path / 'judged'}")
    config = judge_here(*places, "input.on_bad_file=skip")
    silent = Console(quiet=True)
    assert run_rerank(config, silent).exit_code == 0
    (tmp_path / "pairs" / "later.parquet").write_bytes(b"no Parquet")
    outcome = run_rerank(config, silent)
    assert outcome.exit_code == 3
    assert "later.parquet" in outcome.summary.bad_files[0]
    again = run_rerank(config, silent)
    assert (again.exit_code, again.nothing_to_do) == (3, True)

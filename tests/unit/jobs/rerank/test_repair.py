"""Files of judgments that are damaged: they are found and named, and judged again where that is asked for."""

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from rank1_batch.errors import BadFileError, RefusedError, SettingsError
from rank1_batch.jobs.evaluate.orders import read_ranking
from rank1_batch.jobs.export.rows import open_judgments
from rank1_batch.jobs.golden.job import run as run_golden
from rank1_batch.jobs.golden.settings import GoldenMakerConfig
from rank1_batch.jobs.rerank.job import run_rerank
from rank1_batch.jobs.rerank.work import claim_work, find_work, tell_plan
from rank1_batch.jobs.status.job import read_status
from rank1_batch.output.generations import write_generations
from rank1_batch.output.layout import PLAN_PATH, SUCCESS_PATH, judgments_path
from rank1_batch.output.plan import read_plan
from rank1_batch.pairs.units import Unit
from rank1_batch.settings import RerankConfig
from rank1_batch.storage.store import list_files, open_store
from tests.support.scripted import judge_here
from tests.support.tiny_model import tiny_pairs

SILENT = Console(quiet=True)

READERS = ("evaluate", "export", "golden")


@pytest.fixture
def config(tmp_path: Path) -> RerankConfig:
    """A finished job of four units of five rows."""
    (tmp_path / "pairs").mkdir()
    pq.write_table(tiny_pairs(20), tmp_path / "pairs" / "pairs.parquet")
    places = (f"input.path={tmp_path / 'pairs'}", f"output.path={tmp_path / 'judged'}")
    config = judge_here(*places, "input.unit_rows=5")
    run_rerank(config, SILENT)
    return config


def file_of(config: RerankConfig, unit: int) -> Path:
    return Path(config.output.path) / judgments_path(units_of(config)[unit].unit_id)


def units_of(config: RerankConfig) -> list[Unit]:
    return read_plan(open_store(config.output.path))


def damage(config: RerankConfig, kind: str) -> None:
    """The second unit's file is spoilt."""
    file = file_of(config, 1)
    if kind == "truncated":
        file.write_bytes(file.read_bytes()[:-5])
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "garbage":
        file.write_bytes(b"garbage" * 100)
    elif kind == "foreign":
        pq.write_table(pa.table({"x": range(5)}), file)
    elif kind == "another unit's":
        file.write_bytes(file_of(config, 2).read_bytes())
    elif kind == "too few rows":
        rows = pq.read_table(file)
        pq.write_table(rows.slice(1), file)
    elif kind == "gone":
        file.unlink()


def read_with(reader: str, config: RerankConfig, folder: Path) -> Any:
    if reader == "evaluate":
        return read_ranking("run", config.output.path)
    if reader == "export":
        return open_judgments(config.output.path)
    golden: Any = {"output": config.output, "input": config.input, "pairs": 2}
    made = GoldenMakerConfig(**{**golden, "golden": type("", (), {"path": str(folder / "golden.parquet")})()})
    return run_golden(made, Console(file=io.StringIO()))


DAMAGES = ("truncated", "empty", "garbage", "foreign", "another unit's", "too few rows")


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_file_is_named_with_what_to_do(config: RerankConfig, kind: str, tmp_path: Path) -> None:
    name = f"judgments/{units_of(config)[1].unit_id}.parquet"
    damage(config, kind)
    with pytest.raises(BadFileError, match=rf"{name}: (.|\n)*run\.repair=true"):
        run_rerank(config, SILENT)
    for reader in READERS:
        with pytest.raises(BadFileError, match=rf"{name}: (.|\n)*run\.repair=true"):
            read_with(reader, config, tmp_path)
    status = read_status(config.output.path)
    assert not status.finished
    assert [reason.partition(":")[0] for reason in status.damaged] == [name]
    assert status.counts.rows == 15


@pytest.mark.parametrize("kind", DAMAGES)
def test_its_rows_are_judged_again_where_that_is_asked_for(config: RerankConfig, kind: str) -> None:
    damage(config, kind)
    config.run.repair = True
    work = find_work(config)
    assert [unit.unit_id for unit in work.pending] == [units_of(config)[1].unit_id]
    assert work.committed.counts.rows == 15
    assert file_of(config, 1).exists()  # nothing is written before the output is held
    printed = io.StringIO()
    tell_plan(work, Console(file=printed))
    assert f"judged again, since its file is damaged: judgments/{work.pending[0].unit_id}.parquet" in printed.getvalue()
    assert claim_work(work, config).pending == work.pending
    assert not file_of(config, 1).exists()


def test_a_file_that_another_run_mended_meanwhile_stays(config: RerankConfig) -> None:
    whole = file_of(config, 1).read_bytes()
    damage(config, "garbage")
    config.run.repair = True
    work = find_work(config)
    file_of(config, 1).write_bytes(whole)
    assert claim_work(work, config).pending == []
    assert file_of(config, 1).read_bytes() == whole


def test_files_are_mended_also_where_a_redo_is_not_finished(config: RerankConfig) -> None:
    """The redo reads them: it could not be finished before."""
    store = open_store(config.output.path)
    begun = {"where": "finish = 'closed'", "policy": {}, "started_at": 1.0, "finished_at": None}
    write_generations(store, [begun])
    damage(config, "garbage")
    config.run.repair = True
    assert len(find_work(config).pending) == 1
    claim_work(find_work(config), config)
    judge_here(f"input.path={config.input.path}", f"output.path={config.output.path}", "input.unit_rows=5")
    (Path(config.output.path) / SUCCESS_PATH).unlink()
    with pytest.raises(RefusedError, match="a redo was started"):
        run_rerank(config, SILENT)
    assert SUCCESS_PATH not in [file.path for file in list_files(store)]


@pytest.mark.parametrize("reader", READERS)
def test_judgments_that_are_gone_from_a_finished_job_are_missed(
    config: RerankConfig, reader: str, tmp_path: Path
) -> None:
    damage(config, "gone")
    with pytest.raises(SettingsError, match=r"lost files of judgments(.|\n)*same jobs\.rerank command"):
        read_with(reader, config, tmp_path)
    assert len(find_work(config).pending) == 1


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("success", [b"", b'{"units": 3, "hash": "of another plan"}'])
def test_a_plan_that_is_gone_or_another_one_is_not_taken_for_a_finished_job(
    config: RerankConfig, reader: str, success: bytes, tmp_path: Path
) -> None:
    (Path(config.output.path) / SUCCESS_PATH).write_bytes(success)
    if not success:
        (Path(config.output.path) / PLAN_PATH).unlink()
    with pytest.raises(SettingsError, match=r"no plan of a job|no _SUCCESS for its plan"):
        read_with(reader, config, tmp_path)

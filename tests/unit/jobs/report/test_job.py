"""A report's files: whose folder it is, what is replaced, and that its measures are those of jobs.evaluate."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rank1_batch.cli.compose import load_settings
from rank1_batch.errors import RefusedError, SettingsError
from rank1_batch.jobs.evaluate.job import run_evaluation
from rank1_batch.jobs.evaluate.settings import EvaluateConfig, MeasuredConfig
from rank1_batch.jobs.report.command import main
from rank1_batch.jobs.report.job import estimate_report, run_report
from rank1_batch.jobs.report.settings import ReportJobConfig, check_report
from rank1_batch.output.commits import count_committed
from rank1_batch.output.plan import read_plan
from rank1_batch.output.ranking import rank_units
from rank1_batch.output.summary import Summary, write_summary
from rank1_batch.storage.store import open_store
from tests.support.paths import ROOT
from tests.support.scripted import judge_here
from tests.support.tiny_model import tiny_pairs

PAIRS, QRELS = str(ROOT / "examples/noveleval/pairs"), str(ROOT / "examples/noveleval/qrels.txt")


def load(folder: Path, *overrides: str) -> ReportJobConfig:
    paths = [f"output.path={folder}/judged", f"report.path={folder}/report"]
    return load_settings([*paths, *overrides], "report", ReportJobConfig, check_report)


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    """160 pairs of eight queries in two files."""
    (tmp_path / "pairs").mkdir()
    for shard in range(2):
        pq.write_table(tiny_pairs(80, seed=shard), tmp_path / "pairs" / f"{shard}.parquet")
    judge_here(f"input.path={tmp_path}/pairs", f"output.path={tmp_path}/judged", "input.unit_rows=25")
    return tmp_path


def test_the_same_command_writes_the_same_bytes(judged: Path) -> None:
    run_report(load(judged))
    before = read_files(judged / "report")
    run_report(load(judged))
    assert read_files(judged / "report") == before


def test_another_report_of_the_same_output_takes_the_place_of_the_first_and_leaves_nothing_of_it(judged: Path) -> None:
    first = run_report(load(judged))
    before = read_files(judged / "report")
    second = run_report(load(judged, "traces=chosen"))
    after = read_files(judged / "report")
    assert {path for path in before if path.startswith("data/")}.isdisjoint(after)
    assert sum(path.startswith("data/") for path in after) == sum(sizes.files for sizes in second.sizes.values())
    assert second.size_bytes < first.size_bytes
    assert first.size_bytes == sum(len(data) for path, data in before.items() if path != "_rank1/report.json")


def test_a_folder_of_somebody_else_is_refused_and_left_alone(judged: Path) -> None:
    (judged / "report").mkdir()
    (judged / "report" / "index.html").write_text("mine")
    with pytest.raises(RefusedError, match=r"index\.html"):
        run_report(load(judged))
    assert read_files(judged / "report") == {"index.html": b"mine"}


def test_a_report_of_another_output_is_not_replaced(judged: Path, tmp_path: Path) -> None:
    run_report(load(judged))
    judge_here(f"input.path={tmp_path}/pairs", f"output.path={tmp_path}/other")
    with pytest.raises(RefusedError, match=r"choose another report\.path"):
        run_report(load(judged, f"output.path={tmp_path}/other"))


def test_what_is_no_output_or_has_nothing_in_it_yet_is_refused(judged: Path) -> None:
    with pytest.raises(SettingsError, match=r"is not an output of jobs\.rerank"):
        run_report(load(judged, f"output.path={judged}/pairs"))
    for file in (judged / "judged" / "judgments").iterdir():
        file.unlink()
    with pytest.raises(SettingsError, match="nothing is judged yet"):
        run_report(load(judged))


def test_without_its_input_a_report_has_ids_and_says_so(judged: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (judged / "pairs" / "0.parquet").unlink()
    assert main([f"output.path={judged}/judged", f"report.path={judged}/report"]) == 0
    assert "no texts of queries and passages" in capfd.readouterr().out
    page = (judged / "report" / "index.html").read_text()
    assert "No texts of queries and passages." in page
    assert "0.parquet is missing" in page


def test_a_dry_run_tells_the_size_and_writes_nothing(judged: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, everything, chosen = estimate_report(load(judged))
    assert main([f"output.path={judged}/judged", f"report.path={judged}/report", "dry_run=true"]) == 0
    assert "traces=chosen" in capfd.readouterr().out
    assert not (judged / "report").exists()
    written = run_report(load(judged))
    data = sum(sizes.size_bytes for sizes in written.sizes.values())
    assert everything == pytest.approx(data, rel=0.2)
    assert chosen < everything


def test_measures_are_those_of_evaluate(tmp_path: Path) -> None:
    judge_here(f"input.path={PAIRS}/part-0.parquet", f"output.path={tmp_path}/judged")
    store = open_store(f"{tmp_path}/judged")
    units = read_plan(store)
    ranked = rank_units(store, units)
    write_summary(store, Summary(count_committed(store, units), duplicate_candidates=ranked.duplicates))
    for missing in ("zero", "leave_out"):
        run_report(load(tmp_path, f"qrels={QRELS}", f"missing_queries={missing}"))
        config = EvaluateConfig(qrels=QRELS, output=MeasuredConfig(f"{tmp_path}/judged"), missing_queries=missing)
        page = (tmp_path / "report" / "index.html").read_text()
        found = run_evaluation(config)
        for one in found.comparisons.values():
            assert f'<td class="n">{one.first_stage:.4f}</td>' in page
            assert f'<td class="n strong">{one.value:.4f}</td>' in page
            assert f'<td class="n">{one.gained}</td><td class="n">{one.lost}</td>' in page
        assert found.agreement is not None
        assert f"Precision {found.agreement.precision:.3f}, recall {found.agreement.recall:.3f}" in page


def test_rows_of_a_query_may_stand_in_any_unit(tmp_path: Path) -> None:
    """Two files share all queries, so that each query has rows in both."""
    (tmp_path / "pairs").mkdir()
    table = tiny_pairs(80)
    for shard in range(2):
        pq.write_table(table.take(list(range(shard, 80, 2))), tmp_path / "pairs" / f"{shard}.parquet")
    judge_here(f"input.path={tmp_path}/pairs", f"output.path={tmp_path}/judged", "input.unit_rows=7")
    written = run_report(load(tmp_path))
    assert (written.queries, written.output.rows) == (4, 80)
    assert json.loads((tmp_path / "report" / "_rank1" / "report.json").read_text()) == {"output": f"{tmp_path}/judged"}

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.engines.scripted import ScriptedEngine
from rank1_batch.jobs.golden.command import main
from rank1_batch.jobs.golden.job import Place, choose_places, spread
from rank1_batch.jobs.rerank.planning import plan_units
from rank1_batch.judging.pair import judge_given_trace
from rank1_batch.judging.records import Judgment
from rank1_batch.output.commits import commit_unit
from rank1_batch.output.counts import count_judgments
from rank1_batch.output.fingerprint import build_fingerprint, claim_output
from rank1_batch.output.judgments import build_judgments
from rank1_batch.output.layout import SUCCESS_PATH
from rank1_batch.output.plan import write_plan
from rank1_batch.output.success import build_success
from rank1_batch.pairs.inputs import open_input
from rank1_batch.pairs.layout import read_pairs
from rank1_batch.pairs.reader import UnitReader
from rank1_batch.pairs.units import Unit
from rank1_batch.replica.feeder import Feeder
from rank1_batch.replica.golden import GoldenSet, compare_scores, given_traces, read_golden
from rank1_batch.settings import RerankConfig, build_policy, load_config
from rank1_batch.storage.store import open_store, write_bytes

places = st.lists(
    st.builds(Place, st.booleans(), st.integers(1, 500), st.integers(0, 3), st.integers(0, 10**6), st.floats(0, 1)),
    unique_by=lambda place: (place.unit, place.row),
    max_size=200,
)


@given(places, st.integers(1, 20), st.randoms(use_true_random=False))
def test_the_same_rows_are_chosen_in_whatever_order_they_are_seen(given: list[Place], count: int, chance: Any) -> None:
    chosen = choose_places(given, count)
    chance.shuffle(given)
    assert choose_places(given, count) == chosen
    assert len(set(chosen)) == len(chosen) == min(count, len(given))
    assert set(chosen) <= set(given)
    assert [place.score for place in chosen] == sorted(place.score for place in chosen)


@given(places, st.integers(1, 20))
def test_every_part_of_the_scores_that_has_rows_gives_its_shortest_complete_one(given: list[Place], count: int) -> None:
    chosen = choose_places(given, count)
    for part in range(count):
        inside = [place for place in given if min(int(place.score * count), count - 1) == part]
        assert not inside or min(inside) in chosen


def test_unsure_rows_are_chosen_among_many_sure_ones() -> None:
    sure = [Place(False, 10, 0, row, score) for row, score in enumerate([0.001, 0.999] * 500)]
    unsure = [Place(False, 400, 1, row, 0.3 + row / 10) for row in range(4)]
    assert set(unsure) <= set(choose_places([*sure, *unsure], 16))


@given(st.integers(1, 500), st.integers(1, 100))
def test_units_are_read_from_all_over_the_plan(total: int, count: int) -> None:
    units = [Unit(str(number), "a", "e", number, number + 1, 1) for number in range(total)]
    chosen = spread(units, count)
    assert len(chosen) == len(set(chosen)) == min(total, count)
    assert chosen == sorted(chosen, key=units.index)
    steps = [later.row_start - unit.row_start for unit, later in itertools.pairwise(chosen)]
    assert not steps or max(steps) - min(steps) <= 1


def judged_output(folder: Path, rows: int = 60) -> RerankConfig:
    """What a scripted run leaves of a shard with a null passage and odd column names, without Ray."""
    (folder / "pairs").mkdir()
    table = pa.table(
        {
            "qid": [f"q{row // 10}" for row in range(rows)],
            "query": [f"query {row // 10}" for row in range(rows)],
            "doc_id": [f"d{row}" for row in range(rows)],
            "text": [None if row == 7 else f"passage {row} " * (1 + row % 3) for row in range(rows)],
        }
    )
    pq.write_table(table, folder / "pairs" / "a.parquet")
    config = load_config(
        [
            f"input.path={folder}/pairs", f"output.path={folder}/judged", "model=custom", "model.name=none",
            "engine=scripted", "input.columns.query_id=qid", "input.unit_rows=16", "policy.max_thinking_tokens=250",
        ]
    )  # fmt: skip
    source, files = open_input(config.input)
    output = open_store(config.output.path)
    units = plan_units(source, files, config.input).units
    claim_output(output, build_fingerprint(config))
    write_plan(output, units)
    reader = UnitReader(source, config.input.columns, ())
    for unit in units:
        pairs, _ = reader.read(unit)
        judgments = asyncio.run(judge(config, pairs))
        commit_unit(output, unit, build_judgments(pairs, judgments, unit.unit_id, ()), count_judgments(judgments))
    write_bytes(output, SUCCESS_PATH, build_success(units))
    return config


async def judge(config: RerankConfig, rows: pa.Table) -> list[Judgment]:
    return await Feeder(ScriptedEngine(config.model.max_model_len), build_policy(config), 8).judge(read_pairs(rows))


def judge_golden(config: RerankConfig, golden: GoldenSet) -> list[Judgment]:
    policy, engine = build_policy(config), ScriptedEngine(config.model.max_model_len)
    return [
        asyncio.run(judge_given_trace(engine, pair, policy, trace, complete=complete))
        for pair, trace, complete in given_traces(golden)
    ]


def make(config: RerankConfig, *more: str, path: str = "golden.parquet") -> tuple[int, Path]:
    golden = Path(config.output.path).parent / path
    paths = (f"input.path={config.input.path}", f"output.path={config.output.path}", f"golden.path={golden}")
    return main([*paths, *more]), golden


def test_a_set_of_a_run_agrees_with_the_engine_that_ran(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = judged_output(tmp_path)
    code, path = make(config, "pairs=12")
    printed = capfd.readouterr()
    assert code == 0, printed.err
    golden = read_golden(str(path), build_fingerprint(config))
    scores = [pair.score for pair in golden.pairs]
    assert len(set(golden.pairs)) == 12
    assert min(scores) < 0.2
    assert max(scores) > 0.8
    assert all(pair.passage.startswith(f"passage {pair.doc_id[1:]} ") for pair in golden.pairs)
    assert compare_scores(golden, judge_golden(config, golden), tolerance=0.0) == []
    assert f"12 pairs with scores from {min(scores):.3f} to {max(scores):.3f}" in printed.out


def test_the_same_run_gives_the_same_bytes_and_no_set_is_written_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = judged_output(tmp_path)
    (_, one), (_, other) = make(config), make(config, path="other.parquet")
    assert one.read_bytes() == other.read_bytes()
    assert make(config, "pairs=3")[0] == 6
    assert one.read_bytes() == other.read_bytes()
    assert "exists already" in capfd.readouterr().err


def test_rows_without_a_score_are_not_taken(tmp_path: Path) -> None:
    config = judged_output(tmp_path, rows=60)
    _, path = make(config, "pairs=256")
    golden = read_golden(str(path), build_fingerprint(config))
    assert 40 < len(golden.pairs) < 60
    assert "d7" not in {pair.doc_id for pair in golden.pairs}


def test_an_input_that_changed_is_no_source_of_text(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = judged_output(tmp_path)
    pq.write_table(pq.read_table(tmp_path / "pairs" / "a.parquet").slice(1), tmp_path / "pairs" / "a.parquet")
    assert make(config)[0] == 2
    assert "a.parquet: changed or removed" in capfd.readouterr().err


def test_a_place_that_is_no_output_and_a_job_that_has_not_finished_are_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = judged_output(tmp_path)
    (tmp_path / "judged" / SUCCESS_PATH).unlink()
    assert make(config)[0] == 2
    assert "has not finished" in capfd.readouterr().err
    (tmp_path / "judged" / "_rank1" / "job.json").unlink()
    assert make(config)[0] == 2
    assert "is not the output of a rerank job" in capfd.readouterr().err


@pytest.mark.parametrize("pairs", [0, 257])
def test_a_set_has_a_few_pairs(tmp_path: Path, pairs: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([f"pairs={pairs}", "input.path=in", "output.path=out", "golden.path=g"]) == 2
    assert f"pairs is {pairs}, but must be between 1 and 256" in capfd.readouterr().err


def test_the_versions_of_the_run_are_kept_where_it_has_a_summary(tmp_path: Path) -> None:
    config = judged_output(tmp_path)
    (tmp_path / "judged" / "summary.json").write_text(json.dumps({"versions": {"vllm": "0.32.0"}}))
    _, path = make(config)
    assert read_golden(str(path), build_fingerprint(config)).versions == {"vllm": "0.32.0"}

"""Whole evaluations, from settings to what is found and written."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rank1_batch.cli.compose import load_settings
from rank1_batch.errors import SettingsError
from rank1_batch.jobs.evaluate.instructions import InstructionScore
from rank1_batch.jobs.evaluate.job import run_evaluation, run_evaluations
from rank1_batch.jobs.evaluate.report import Evaluation, build_json
from rank1_batch.jobs.evaluate.settings import EvaluateConfig, check_config
from rank1_batch.measuring.agreement import Agreement
from rank1_batch.storage.store import open_store
from tests.support.judged import Row, write_judged
from tests.support.paths import DATA

SCIFACT = DATA / "scifact"
JUDGED: list[Row] = [
    ("q", "a", 0.25, 1),
    ("q", "b", None, 2),
    ("q", "c", 0.75, 3),
    ("r", "a", 1.0, 1),
    ("x", "a", 0.5, 1),
]
GRADES = "q 0 a 0\nq 0 b 1\nq 0 c 2\nr 0 z 1\ns 0 a 1\n"


def evaluate(*settings: str) -> Evaluation:
    return run_evaluation(load_settings(settings, "evaluate", EvaluateConfig, check_config))


def problems_of(*settings: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        evaluate(*settings)
    return caught.value.problems


@pytest.fixture
def judged(tmp_path: Path) -> list[str]:
    """Settings for a job's output and grades of it."""
    write_judged(open_store(str(tmp_path / "judged")), JUDGED)
    (tmp_path / "qrels.txt").write_text(GRADES)
    return [f"output.path={tmp_path}/judged", f"qrels={tmp_path}/qrels.txt"]


def test_a_jobs_output_is_measured_beside_its_first_stage(judged: list[str]) -> None:
    """q ranks c (2), a (0), b (1, failed) after a, b, c; r finds nothing; s has no candidates; x no grades."""
    found = evaluate(*judged, "measures=[RR,P@1]")
    assert found.ours == {"RR": {"q": 1.0, "r": 0.0, "s": 0.0}, "P@1": {"q": 1.0, "r": 0.0, "s": 0.0}}
    assert found.first == {"RR": {"q": 0.5, "r": 0.0, "s": 0.0}, "P@1": {"q": 0.0, "r": 0.0, "s": 0.0}}
    assert found.comparisons["RR"][:3] == pytest.approx((1 / 3, 1 / 6, 1 / 6))
    assert (found.comparisons["RR"].gained, found.comparisons["RR"].lost) == (1, 0)
    assert found.queries == (3, 1, 1, True)
    assert found.unjudged_in_top == 1 / 4
    assert found.agreement == Agreement(1, 0, 0, 1, unjudged=1, unlabelled=1)
    assert found.instructions is None


def test_queries_without_candidates_may_be_left_out(judged: list[str]) -> None:
    found = evaluate(*judged, "measures=[RR]", "missing_queries=leave_out")
    assert found.comparisons["RR"].value == 0.5
    assert found.queries == (2, 1, 1, False)


def test_relevance_begins_at_the_threshold(judged: list[str]) -> None:
    assert evaluate(*judged, "relevance_threshold=3").agreement == Agreement(0, 1, 0, 1, unjudged=1, unlabelled=1)


def test_a_run_has_no_labels_and_the_first_stage_that_is_given(tmp_path: Path) -> None:
    qrels = f"qrels={SCIFACT}/qrels.tsv"
    found = evaluate(f"run={SCIFACT}/direct_scores.parquet", f"first_stage={SCIFACT}/bm25.trec.gz", qrels)
    assert found.agreement is None
    one = found.comparisons["nDCG@10"]
    assert (round(one.value, 4), round(one.first_stage or 0, 4)) == (0.5286, 0.6863)
    assert evaluate(f"run={SCIFACT}/bm25.trec.gz", qrels, "measures=[RR]").first is None


def test_the_first_stage_that_is_given_stands_in_place_of_the_outputs_own(judged: list[str], tmp_path: Path) -> None:
    (tmp_path / "first.trec").write_text("q Q0 c 1 1 x\n")
    found = evaluate(*judged, "measures=[RR]", f"first_stage={tmp_path}/first.trec")
    assert found.first == {"RR": {"q": 1.0, "r": 0.0, "s": 0.0}}


def test_the_report_has_all_numbers_and_every_query(judged: list[str], tmp_path: Path) -> None:
    evaluate(*judged, "measures=[RR,P@1]", f"report.path={tmp_path}/report")
    told = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    assert told["measures"]["RR"]["gained"] == 1
    assert told["queries"]["missing"] == 1
    assert (told["labels"]["precision"], told["labels"]["relevance_threshold"]) == (1.0, 1)
    rows = pq.read_table(tmp_path / "report" / "per_query.parquet").to_pylist()
    assert rows[0] == {"query_id": "q", "measure": "RR", "value": 1.0, "first_stage": 0.5, "difference": 0.5}
    assert [(row["measure"], row["query_id"]) for row in rows] == [(m, q) for m in ("RR", "P@1") for q in "qrs"]


def test_without_a_first_stage_the_report_leaves_its_columns_null(tmp_path: Path) -> None:
    settings = [f"run={SCIFACT}/bm25.trec.gz", f"qrels={SCIFACT}/qrels.tsv", "measures=[RR@10]"]
    evaluate(*settings, f"report.path={tmp_path}/report")
    table = pq.read_table(tmp_path / "report" / "per_query.parquet")
    assert table.num_rows == table["first_stage"].null_count == table["difference"].null_count == 300


def test_the_same_inputs_give_the_same_bytes(judged: list[str], tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        evaluate(*judged, f"report.path={tmp_path}/report")
        contents.append({path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()})
    assert contents[0] == contents[1]


def test_instructions_are_scored_by_two_runs_and_their_grades(tmp_path: Path) -> None:
    (tmp_path / "og.trec").write_text("q Q0 a 1 9 x\nq Q0 b 2 8 x\n")
    (tmp_path / "changed.trec").write_text("q Q0 b 1 9 x\nq Q0 a 2 8 x\n")
    (tmp_path / "og.qrels").write_text("q 0 a 1\nq 0 b 1\n")
    (tmp_path / "changed.qrels").write_text("q 0 a 0\nq 0 b 1\n")
    settings = [f"run={tmp_path}/og.trec", f"qrels={tmp_path}/og.qrels", f"changed.run={tmp_path}/changed.trec"]
    found = evaluate(*settings, f"changed.qrels={tmp_path}/changed.qrels")
    assert found.instructions == InstructionScore(0.5, queries=1, documents=1, missing=0)


def test_instructions_are_scored_within_one_run_of_both_forms_of_its_queries(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("q-og Q0 a 1 9 x\nq-og Q0 b 2 8 x\nq-changed Q0 b 1 9 x\nq-changed Q0 a 2 8 x\n")
    (tmp_path / "qrels").write_text("q-og 0 a 1\nq-changed 0 a 0\n")
    found = evaluate(f"run={tmp_path}/run", f"qrels={tmp_path}/qrels")
    assert found.instructions == InstructionScore(0.5, queries=1, documents=1, missing=0)


def test_a_given_list_of_changed_documents_stands_in_place_of_the_derived_one(tmp_path: Path) -> None:
    """c falls from rank 1 to 3, which is 1 - 1/3 as in mteb's `calculate_pmrr`. Grades would show a alone."""
    (tmp_path / "run").write_text("q-og Q0 c 1 9 x\nq-og Q0 a 2 8 x\nq-changed Q0 a 1 9 x\nq-changed Q0 b 2 8 x\n")
    (tmp_path / "qrels").write_text("q-og 0 a 1\nq-changed 0 a 0\n")
    (tmp_path / "diff.jsonl").write_text('{"query-id": "q", "corpus-ids": ["c"]}')
    files = [f"run={tmp_path}/run", f"qrels={tmp_path}/qrels"]
    found = evaluate(*files, f"changed.documents={tmp_path}/diff.jsonl")
    assert found.instructions is not None
    assert found.instructions == InstructionScore(1 - 1 / 3, queries=1, documents=1, missing=0)


def test_measures_of_chosen_queries_leave_p_mrr_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("q-og Q0 a 1 9 x\nq-og Q0 b 2 8 x\nq-changed Q0 b 1 9 x\nq-changed Q0 a 2 8 x\n")
    (tmp_path / "qrels").write_text("q-og 0 a 1\nq-changed 0 a 0\nq-changed 0 b 1\n")
    found = evaluate(f"run={tmp_path}/run", f"qrels={tmp_path}/qrels", "queries=-og$", "measures=[RR]")
    assert found.ours == {"RR": {"q-og": 1.0}}
    assert found.queries.measured == 1
    assert found.instructions == InstructionScore(0.5, queries=1, documents=1, missing=0)
    [problem] = problems_of(f"run={tmp_path}/run", f"qrels={tmp_path}/qrels", "queries=x$")
    assert problem == "queries=x$ is found in no id of a graded query"


def test_values_are_those_of_groups_of_queries(tmp_path: Path) -> None:
    """NevIR's pairwise accuracy: the second pair prefers one passage for both of its queries."""
    orders = {"1_q1": "ab", "1_q2": "ba", "2_q1": "ab", "2_q2": "ab"}
    lines = [f"{query} Q0 {doc} 1 {9 - rank} x" for query, docs in orders.items() for rank, doc in enumerate(docs)]
    (tmp_path / "run").write_text("\n".join(lines))
    (tmp_path / "qrels").write_text("".join(f"{query} 0 {'a' if query[-1] == '1' else 'b'} 1\n" for query in orders))
    files = [f"run={tmp_path}/run", f"first_stage={tmp_path}/run", f"qrels={tmp_path}/qrels", "measures=[P@1]"]
    found = evaluate(*files, "group_by=^(.+)_q[12]$", "aggregate=all")
    assert found.ours == found.first == {"P@1": {"1": 1.0, "2": 0.0}}
    assert found.comparisons["P@1"].value == 0.5
    assert found.grouped == (2, "all")
    assert build_json(found)["groups"] == {"count": 2, "aggregate": "all"}


def test_several_sets_of_grades_are_measured_apart(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("q Q0 a 1 9 x\nq Q0 b 2 8 x\n")
    (tmp_path / "old").write_text("q 0 b 1\n")
    (tmp_path / "new").write_text("q 0 a 1\n")
    settings = [f"run={tmp_path}/run", "measures=[RR]"]
    settings += [f"named_qrels.{name}={tmp_path}/{name}" for name in ("old", "new")]
    config = load_settings([*settings, f"report.path={tmp_path}/report"], "evaluate", EvaluateConfig, check_config)
    found = run_evaluations(config)
    assert {name: one.comparisons["RR"].value for name, one in found.items()} == {"old": 0.5, "new": 1.0}
    assert json.loads((tmp_path / "report" / "new" / "evaluation.json").read_text())["measures"]["RR"]["value"] == 1.0


def test_grades_are_given_once_or_by_names() -> None:
    either = ["give either qrels=… (people's grades) or named_qrels.NAME=… for each of several"]
    assert problems_of("run=a") == problems_of("run=a", "qrels=q", "named_qrels.b=c") == either


def test_groups_and_patterns_that_cannot_work_are_told() -> None:
    assert problems_of("run=a", "qrels=q", "queries=(", "aggregate=least") == [
        "queries is no regular expression: missing ), unterminated subpattern at position 0",
        "aggregate=least needs group_by, which says what the groups are",
        "aggregate is 'least', but must be one of mean, min, all",
    ]


def test_all_settings_that_cannot_work_are_told_at_once() -> None:
    settings = ["qrels=q", "measures=[nDCG10,P]", "missing_queries=no", "format=xml", "run_format=x", "changed.run=c"]
    starts = [
        "measures: 'nDCG10'", "measures: 'P'", "give either run=", "changed.run and changed.qrels",
        "missing_queries is 'no'", "format is 'xml'", "run_format is 'x'",
    ]  # fmt: skip
    problems = problems_of(*settings)
    assert all(problem.startswith(start) for problem, start in zip(problems, starts, strict=True))
    assert problems_of("run=a", "output.path=b", "qrels=q")[0].startswith("give either run=")
    assert problems_of("run=a", "qrels=q", "measures=[]") == [
        "measures is empty; name at least one, as in measures=[nDCG@10,AP]"
    ]


def test_all_inputs_that_cannot_be_read_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("q Q0 a\n")
    (tmp_path / "qrels").write_text("")
    settings = [f"{name}={tmp_path}/{name}" for name in ("run", "qrels", "first_stage", "changed.run", "changed.qrels")]
    run, qrels, *others = problems_of(*settings)
    assert f"{tmp_path}/run, line 1: 3 fields" in run
    assert qrels == f"qrels: {tmp_path}/qrels has no grades"
    assert [problem.split(":")[0] for problem in others] == ["first_stage", "changed.run", "changed.qrels"]


def test_a_run_and_grades_that_share_no_query_are_told(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("q1 Q0 a 1 1 x\n")
    (tmp_path / "qrels").write_text("1 0 a 1\n")
    assert problems_of(f"run={tmp_path}/run", f"qrels={tmp_path}/qrels") == [
        "run and qrels share no query: run has q1, …; qrels have 1, …"
    ]

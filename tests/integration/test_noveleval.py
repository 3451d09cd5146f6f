"""From pairs to training data with the demo model: NovelEval's first pairs, judged, measured and exported."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.scripted import read_links

NOVELEVAL = Path(__file__).parents[2] / "examples" / "noveleval"
QRELS = NOVELEVAL / "qrels.txt"
DEPTH = 5
Run = Callable[..., tuple[int, str]]


@pytest.mark.timeout(600)  # loads a model
def test_what_the_demo_model_says_becomes_labels_that_lead_back_to_its_reasoning(
    tmp_path: Path, demo_model: Path, run_job: Run
) -> None:
    chosen = (pc.field("query_id").isin(["0", "1"])) & (pc.field("first_stage_rank") <= DEPTH)
    pq.write_table(pq.read_table(NOVELEVAL / "pairs" / "part-0.parquet", filters=chosen), tmp_path / "pairs.parquet")
    code, printed = run_job(
        "model=demo_full", "engine=vllm_cpu", "engine.max_num_seqs=16", "policy.max_thinking_tokens=192",
        f"input.path={tmp_path}/pairs.parquet", f"output.path={tmp_path}/judged",
    )  # fmt: skip
    assert code == 0, printed
    judged = pq.read_table(tmp_path / "judged" / "judgments").to_pylist()
    assert len(judged) == 2 * DEPTH
    finished = {(row["unit_id"], row["row"]): row for row in judged if row["finish"] == "complete"}
    assert len(finished) > len(judged) / 2  # it ends its reasoning by itself

    code, printed = run_job(
        f"output.path={tmp_path}/judged", f"labels.path={tmp_path}/labels", f"qrels={QRELS}",
        "format=[rank1,scores]", "labels.keep_without=[positive,negative]", "labels.drop_called_true=false",
        name="export",
    )  # fmt: skip
    assert code == 0, printed
    report = json.loads((tmp_path / "labels" / "labels.json").read_text())
    assert report["rows"] == len(judged)
    assert report["exported"] == len(finished)
    assert "smollm2-135m-rank1" in (tmp_path / "labels" / "labels_card.md").read_text()

    outputs = read_outputs(tmp_path / "labels")
    assert outputs == {
        key: f"<think>{row['trace']}</think> {str(row['label']).lower()}" for key, row in finished.items()
    }

    relevant = {tuple(line.split()[::2]) for line in QRELS.read_text().splitlines() if int(line.split()[3]) > 0}
    called = [row for row in finished.values() if row["label"]]
    right = [row for row in called if (row["query_id"], row["doc_id"]) in relevant]
    assert report["trust"]["graded"]["pairs"] == len(finished)
    precision = report["trust"]["verdicts"]["precision"]["value"]
    assert precision == (pytest.approx(len(right) / len(called)) if called else None)


def read_outputs(labels: Path) -> dict[tuple[object, object], str]:
    """What a model is to be trained to answer, by the judgment that it leads back to."""
    lines = (labels / "rank1" / "train" / "part-00000.jsonl").read_text().splitlines()
    links = read_links(labels, "rank1")
    return {(link["unit_id"], link["row"]): json.loads(line)["output"] for link, line in zip(links, lines, strict=True)}

"""Measures the demo model on pairs it has not seen, through the job itself: the table in README.md.

    python tools/demo_model/evaluate.py OUT [--forms bf16 awq] [--sets …] [--queries N] [--settings …]

Judges what OUT does not hold yet, so it continues where it was stopped. AWQ is measured with its unpacked weights,
because not every CPU has the kernels for the packed ones.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from build import AWQ, BF16, default_cache
from checkpoints import unpack_awq
from traces import content_words, stem

from rank1_batch.columns import DOC_ID, FINISH, FIRST_STAGE_RANK, LABEL, PASSAGE, QUERY, QUERY_ID, SCORE, TITLE, TRACE
from rank1_batch.jobs.evaluate.job import run_evaluation
from rank1_batch.jobs.evaluate.settings import EvaluateConfig, MeasuredConfig
from rank1_batch.judging.records import Finish

ROOT = Path(__file__).parents[2]
HELD_OUT = Path(__file__).with_name("data") / "held_out.parquet"
NOVELEVAL = ROOT / "examples" / "noveleval"
SETS = ("balanced", "noveleval", "scifact")
FORMS = {"bf16": BF16, "awq": AWQ}
DEPTH, BUDGET = 20, 256


def main() -> int:
    """Judge, measure, and print one line of Markdown for each form and set."""
    arguments = parse_arguments()
    print(
        "| form | pairs | finished | names both | quotes true | right | area | nDCG@10 | first stage |\n|" + "---|" * 9
    )
    for name in arguments.sets:
        pairs = write_pairs(arguments.out, name, arguments.queries)
        for form in arguments.forms:
            output = arguments.out / form / pairs.stem
            judge(find_folder(arguments.out, form), pairs, output, arguments.settings)
            print(measure(form, name, pairs, output, find_qrels(arguments.out, name)), flush=True)
    return 0


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the demo model on pairs it has not seen.")
    parser.add_argument("out", type=Path, help="where judgments go")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--settings", nargs="+", default=[], help="further settings of the job")
    parser.add_argument("--queries", type=int, default=1000, help="how many held-out claims; default: all")
    return parser.parse_args()


def find_folder(out: Path, form: str) -> Path:
    """The checkpoint of a form. For AWQ it is a copy in OUT with unpacked weights."""
    folder: Path = default_cache() / FORMS[form]
    if form != "awq":
        return folder
    unpacked = out / "awq_unpacked"
    if not unpacked.exists():
        unpack_awq(folder, unpacked)
    return unpacked


def write_pairs(out: Path, name: str, queries: int) -> Path:
    """The input of the job for a set."""
    if name == "noveleval":
        return NOVELEVAL / "pairs"
    table = pq.read_table(HELD_OUT)
    chosen = sorted(set(table[QUERY_ID].to_pylist()))[:queries]
    part = pc.field("balanced") if name == "balanced" else pc.field(FIRST_STAGE_RANK) <= DEPTH
    table = table.filter(part & pc.field(QUERY_ID).isin(chosen))
    path = out / "pairs" / f"{name}_{len(chosen)}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():  # a file that is written again is another input, and the job would refuse it
        pq.write_table(table, path)
    return path


def judge(model: Path, pairs: Path, output: Path, further: Sequence[str]) -> None:
    """Run the job. It has nothing to do where it is done."""
    settings = [
        "model=custom", f"model.name={model}", "model.dtype=float32", "model.max_model_len=2048", "engine=vllm_cpu",
        f"policy.max_thinking_tokens={BUDGET}", "input.unit_rows=32", f"input.path={pairs}", f"output.path={output}",
        *further,
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "jobs.rerank", *settings], cwd=ROOT, check=True, stdout=sys.stderr)


def measure(form: str, name: str, pairs: Path, output: Path, qrels: Path) -> str:
    """One line of the table."""
    texts = pq.read_table(pairs).to_pylist()
    by_id = {(row[QUERY_ID], row[DOC_ID]): row for row in texts}
    judged = pq.read_table(output / "judgments").to_pylist()
    rows = [by_id[row[QUERY_ID], row[DOC_ID]] | row for row in judged]
    shares = [
        share(row[FINISH] == Finish.COMPLETE for row in rows),
        share(names_both(row) for row in rows),
        share(true for row in rows for true in check_quotes(row)),
        share(row[LABEL] == row["relevant"] for row in rows) if name == "balanced" else "",
        measure_area(rows) if name == "balanced" else "",
    ]
    ranked = ["", ""] if name == "balanced" else measure_order(output, qrels)
    return f"| {form} | {name}, {len(rows)} | " + " | ".join([*shares, *ranked]) + " |"


def share(values: Any) -> str:
    """How many of the values are true, in percent."""
    values = list(values)
    return f"{100 * sum(values) / len(values):.1f} %"


def measure_area(rows: Sequence[dict[str, Any]]) -> str:
    """The area under the ROC curve: how often a relevant pair has the higher score."""
    from sklearn.metrics import roc_auc_score

    return f"{roc_auc_score([row['relevant'] for row in rows], [row[SCORE] for row in rows]):.2f}"


def names_both(row: dict[str, Any]) -> bool:
    """Whether the trace has a content word of the query, and one that only the passage has."""
    query, passage, trace = (set(map(stem, content_words(text))) for text in (row[QUERY], shown(row), row[TRACE]))
    return bool(trace & query) and bool(trace & (passage - query))


def shown(row: dict[str, Any]) -> str:
    """The passage as the model sees it."""
    return f"{row[TITLE]} {row[PASSAGE]}" if row.get(TITLE) else str(row[PASSAGE])


def check_quotes(row: dict[str, Any]) -> Sequence[bool]:
    """For each quotation in a trace: whether it stands in the passage."""
    passage = " ".join(shown(row).split()).lower()
    return [quote.lower() in passage for quote in re.findall(r'"([^"]+)"', row[TRACE])]


def find_qrels(out: Path, name: str) -> Path:
    """People's grades of a set, as a file."""
    if name == "noveleval":
        return NOVELEVAL / "qrels.txt"
    rows = pq.read_table(HELD_OUT).filter(pc.field("relevant")).to_pylist()
    path = out / "qrels.txt"
    path.write_text("".join(f"{row[QUERY_ID]} 0 {row[DOC_ID]} 1\n" for row in rows))
    return path


def measure_order(output: Path, qrels: Path) -> list[str]:
    """nDCG@10 of the new order, and of the first stage's."""
    config = EvaluateConfig(
        qrels=str(qrels), output=MeasuredConfig(str(output)), measures=["nDCG@10"], missing_queries="leave_out"
    )
    found = run_evaluation(config).comparisons["nDCG@10"]
    return [f"{found.value:.3f}", f"{found.first_stage:.3f}"]


if __name__ == "__main__":
    sys.exit(main())

"""Makes examples/scifact: a slice of BEIR's SciFact in BEIR's layout, and a BM25 run of it.

    python tools/make_scifact.py SOURCE [--out DIR]

SOURCE holds SciFact's test split as tables: `queries.parquet` (query_id, query), `corpus.parquet`
(doc_id, title, text), `qrels.parquet` (query_id, doc_id, relevance) and `bm25_top100.parquet`
(query_id, doc_id, score, rank).
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from demo_model.split import choose_part

EXAMPLE = Path(__file__).parent.parent / "examples" / "scifact"
EACH_NTH_QUERY = 3
DEPTH = 20
RUN_TAG = "bm25s"

Row = dict[str, Any]


def main() -> None:
    """Write the slice."""
    parser = argparse.ArgumentParser(description="Make examples/scifact.")
    parser.add_argument("source", type=Path, help="folder with SciFact as tables")
    parser.add_argument("--out", type=Path, default=EXAMPLE, help="default: %(default)s")
    arguments = parser.parse_args()
    write_example(arguments.source, arguments.out)


def write_example(source: Path, out: Path) -> None:
    """Every third of the queries that the demo model was not trained on: candidates, grades, abstracts."""
    (out / "qrels").mkdir(parents=True, exist_ok=True)
    held_out = [row for row in read_rows(source, "queries") if choose_part(row["query_id"]) == "held_out"]
    queries = sorted(held_out, key=lambda row: int(row["query_id"]))[::EACH_NTH_QUERY]
    chosen = {row["query_id"] for row in queries}
    run = [row for row in read_rows(source, "bm25_top100") if row["query_id"] in chosen and row["rank"] <= DEPTH]
    run.sort(key=lambda row: (int(row["query_id"]), row["rank"]))
    qrels = [row for row in read_rows(source, "qrels") if row["query_id"] in chosen]
    needed = {row["doc_id"] for row in [*run, *qrels]}
    corpus = sorted((row for row in read_rows(source, "corpus") if row["doc_id"] in needed), key=lambda r: r["doc_id"])
    write_lines(out / "queries.jsonl", (to_json(_id=row["query_id"], text=row["query"]) for row in queries))
    write_lines(
        out / "corpus.jsonl",
        (to_json(_id=row["doc_id"], title=row["title"], text=row["text"]) for row in corpus),
    )
    grades = ["\t".join((row["query_id"], row["doc_id"], str(row["relevance"]))) for row in qrels]
    write_lines(out / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", *grades])
    write_lines(out / "bm25.trec", map(to_run_line, run))


def read_rows(source: Path, name: str) -> list[Row]:
    """The rows of a table."""
    return list(pq.read_table(source / f"{name}.parquet").to_pylist())


def to_json(**fields: str) -> str:
    """A line of BEIR's JSONL."""
    return json.dumps(fields, ensure_ascii=False)


def to_run_line(row: Row) -> str:
    """A line of a TREC run. The score stays as it was."""
    return f"{row['query_id']} Q0 {row['doc_id']} {row['rank']} {row['score']!r} {RUN_TAG}"


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file in which each line ends with a line break."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()

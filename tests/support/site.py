"""Outputs to report on: many rows, and texts that would harm a careless page. And a web server."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rank1_batch.jobs.rerank.planning import plan_units
from rank1_batch.output.commits import commit_unit
from rank1_batch.output.counts import Counts
from rank1_batch.output.fingerprint import build_fingerprint, claim_output
from rank1_batch.output.judgments import JUDGMENT_TYPES
from rank1_batch.output.layout import SUCCESS_PATH
from rank1_batch.output.plan import write_plan
from rank1_batch.output.recorded import record_settings
from rank1_batch.pairs.inputs import open_input
from rank1_batch.settings import load_config
from rank1_batch.storage.store import open_store, write_bytes

DEPTH, COLOURS = 100, ("red", "green", "blue")

SYLLABLES = ("lam", "pe", "sto", "ne", "ri", "ver", "hou", "se", "win", "ter", "mu", "sic", "bir", "do", "gre", "ka")

TRACES = 5000

HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    '<img src="https://example.com/x.png" onerror="window.hacked = 1">',
    "{{ 7 * 7 }} {% raw %} ${window.hacked = 1}",
    "<!-- <![CDATA[ ]]> &amp; &#x3c;",
    "שלום עולם, what is <b>this</b>?",
    "\u202etxet desrever\u202c and on",
    "👩\u200d👩\u200d👧 🇩🇪 é e\u0301",
    "nul \x00 bell \x07 escape \x1b[31m red",
    "line \u2028 separators \u2029 here",
    "'; DROP TABLE judgments; -- \" ` \\",
    "javascript:window.hacked=1",
    "long " + "a" * 3000,
)
"""Texts that mean something to a parser, a terminal or a layout."""


def hostile_pairs() -> pa.Table:
    """Every hostile text as a query, an id, a passage and a title. A row cannot be judged, for it has no passage."""
    rows = [(query, text) for query in HOSTILE[:4] for text in HOSTILE]
    return pa.table(
        {
            "query_id": [f"q {query[:20]}" for query, _ in rows],
            "query": [query for query, _ in rows],
            "doc_id": [f"d&d={text[:40]}#%41" for _, text in rows],
            "passage": [None if row == 5 else text for row, (_, text) in enumerate(rows)],
            "title": [text[:60] for _, text in rows],
            "first_stage_rank": pa.array([row % len(HOSTILE) + 1 for row in range(len(rows))], pa.int32()),
        }
    )


def write_many(folder: Path, rows: int, sentences: int = 2) -> None:
    """Pairs and their judgments, made by chance, with so many sentences in a trace."""
    chance = np.random.default_rng(0)
    traces = _make_traces(chance, sentences)
    pairs = _many_pairs(rows)
    (folder / "pairs").mkdir(parents=True)
    pq.write_table(pairs, folder / "pairs" / "all.parquet", row_group_size=20_000)
    config = load_config(
        [
            "model=custom",
            "model.name=none",
            "engine=scripted",
            f"input.path={folder}/pairs",
            f"output.path={folder}/judged",
        ]
    )
    source, files = open_input(config.input)
    output, units = open_store(config.output.path), plan_units(source, files, config.input).units
    claim_output(output, build_fingerprint(config))
    record_settings(output, config)
    write_plan(output, units)
    for unit in units:
        own = pairs.slice(unit.row_start, unit.pairs)
        commit_unit(output, unit, _judge(own, unit.unit_id, unit.row_start, chance, traces), Counts(rows=unit.pairs))
    write_bytes(output, SUCCESS_PATH, b"")


def _many_pairs(rows: int) -> pa.Table:
    numbers = range(rows)
    return pa.table(
        {
            "query_id": [f"q{row // DEPTH}" for row in numbers],
            "query": [f"what is number {row // DEPTH} of the lamps" for row in numbers],
            "doc_id": [f"d{row}" for row in numbers],
            "passage": [f"Lamp {row} is {COLOURS[row % 3]}, and stands in house {row % 977}." for row in numbers],
            "first_stage_rank": pa.array([row % DEPTH + 1 for row in numbers], pa.int32()),
        }
    )


def _make_traces(chance: np.random.Generator, sentences: int) -> list[str]:
    """Traces to choose from; hardly two sentences are alike."""
    words = np.array([first + last for first in SYLLABLES for last in SYLLABLES])
    return [
        "\n" + " ".join(" ".join(chance.choice(words, 12)).capitalize() + "." for _ in range(sentences))
        for _ in range(TRACES)
    ]


def _judge(pairs: pa.Table, unit_id: str, first: int, chance: np.random.Generator, traces: list[str]) -> pa.Table:
    odds = chance.normal(0, 4, len(pairs))
    score, number = 1 / (1 + np.exp(-odds)), len(pairs)
    columns = {
        "score": score,
        "true_logprob": -np.log1p(np.exp(-odds)),
        "false_logprob": -np.log1p(np.exp(odds)),
        "label": score >= 0.5,
        "finish": ["complete"] * number,
        "trace": [traces[place] for place in chance.integers(0, TRACES, number)],
        "prompt_tokens": np.full(number, 90),
        "trace_tokens": chance.integers(5, 200, number),
        "passage_truncated": [False] * number,
        "error": [None] * number,
    }
    return pa.table(
        {
            "query_id": pairs["query_id"],
            "doc_id": pairs["doc_id"],
            **{name: pa.array(values, JUDGMENT_TYPES[name]) for name, values in columns.items()},
            "unit_id": [unit_id] * number,
            "row": pa.array(range(first, first + number), pa.int64()),
            "candidate": pa.nulls(number, pa.int32()),
            "first_stage_rank": pairs["first_stage_rank"].cast(pa.int64()),
            "first_stage_score": pa.nulls(number, pa.float64()),
        }
    )


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """A plain web server for a folder; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

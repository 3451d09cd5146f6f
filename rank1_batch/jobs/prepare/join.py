"""Joins run, queries and corpus in bounded memory, with DuckDB in the driver's process.

A run is far smaller than its corpus, so the corpus is never stored. It is read once, and a semi join
with the candidates' doc_ids keeps the few passages that are needed. Those are stored in a file on the
scratch disk. Sorts and joins also use that disk for data that does not fit in memory.

Why not Ray Data: its join shuffles both sides through the object store. Here that would be some 10^8
passages for 10^5 candidates. A broadcast filter would have to be written by hand.
Why not DuckDB's readers: this package's readers say which line of which file is broken. They also use
the same credentials for stores as the rest of the package.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import duckdb
import pyarrow as pa

from rank1_batch.collection.runs import RUN_SCHEMA
from rank1_batch.collection.texts import TEXT_SCHEMA
from rank1_batch.errors import Rank1BatchError, SettingsError, StorageError
from rank1_batch.storage.scratch import scratch_folder

OUTPUT_ROWS = 8192

# DuckDB holds the right side of a join in memory. Here the right side is always the smaller one. DuckDB's own
# choice would hold the corpus, because it counts a stream of unknown length as one row.
SETTINGS = "SET disabled_optimizers = 'join_order,build_side_probe_side'"

CUT_RUN = """
CREATE TABLE copies AS SELECT *, row_number() OVER (
    PARTITION BY query_id, doc_id ORDER BY score DESC NULLS LAST, rank ASC NULLS LAST, number) AS copy FROM run;
CREATE TABLE candidates AS SELECT query_id, doc_id, score, row_number() OVER (
    PARTITION BY query_id ORDER BY score DESC NULLS LAST, rank ASC NULLS LAST, doc_id) AS place
    FROM copies WHERE copy = 1 QUALIFY place <= $depth;
CREATE TABLE query_ids AS SELECT DISTINCT query_id AS key FROM candidates;
CREATE TABLE doc_ids AS SELECT DISTINCT doc_id AS key FROM candidates;
"""

SAMPLE = """
DELETE FROM run WHERE query_id NOT IN (SELECT query_id FROM (SELECT DISTINCT query_id FROM run)
    ORDER BY sha256(concat($seed, chr(10), query_id)), query_id LIMIT $sample)
"""
"""The chosen queries are those with the least hashes, so the same run and seed give the same ones everywhere."""

EXCLUDE = "DELETE FROM run USING excluded e WHERE run.query_id = e.query_id AND run.doc_id = e.doc_id"

DROP_IDENTICAL = "DELETE FROM run WHERE query_id = doc_id"

KEEP_FIRST = """
CREATE TABLE {table}_copies AS SELECT key, number FROM (
    SELECT key, number, row_number() OVER (PARTITION BY key ORDER BY number) AS copy FROM {table}) WHERE copy > 1;
DELETE FROM {table} WHERE number IN (SELECT number FROM {table}_copies);
"""

PROBLEMS = """
SELECT 'duplicate_candidate' AS kind, query_id, doc_id, count(*) AS count FROM copies WHERE copy > 1 GROUP BY ALL
UNION ALL SELECT 'duplicate_passage', NULL, key, count(*) FROM passages_copies GROUP BY ALL
UNION ALL SELECT 'duplicate_query', key, NULL, count(*) FROM queries_copies GROUP BY ALL
UNION ALL SELECT if(q.key IS NULL, 'missing_query', 'empty_query'), c.query_id, NULL, count(*)
    FROM candidates c LEFT JOIN queries q ON q.key = c.query_id WHERE q.text IS NULL GROUP BY ALL
UNION ALL SELECT if(p.key IS NULL, 'missing_passage', 'empty_passage'), c.query_id, c.doc_id, 1
    FROM candidates c LEFT JOIN (SELECT key, text IS NULL AND extra IS NULL AS empty FROM passages) p
    ON p.key = c.doc_id
    WHERE p.key IS NULL OR p.empty
ORDER BY kind, query_id, doc_id
"""

PAIRS = """
SELECT c.query_id, q.text AS query, coalesce(i.text, q.extra) AS instruction, c.doc_id, p.extra AS title,
    CASE WHEN p.extra IS NULL THEN p.text ELSE coalesce(p.text, '') END AS passage,
    c.place AS first_stage_rank, c.score AS first_stage_score
FROM passages p RIGHT JOIN candidates c ON p.key = c.doc_id
    LEFT JOIN queries q ON q.key = c.query_id LEFT JOIN instructions i ON i.key = c.query_id
WHERE $keep OR (coalesce(p.text, p.extra) IS NOT NULL AND q.text IS NOT NULL)
ORDER BY c.query_id, c.place
"""

COUNTS = (
    "SELECT count(*) FROM run",
    "SELECT count(*) FROM query_ids",
    "SELECT count(*) FROM candidates",
    """SELECT count(*) FROM candidates c JOIN passages p ON p.key = c.doc_id JOIN queries q ON q.key = c.query_id
    WHERE coalesce(p.text, p.extra) IS NOT NULL AND q.text IS NOT NULL""",
    """SELECT count(*) FROM query_ids LEFT JOIN queries q USING (key) LEFT JOIN instructions i USING (key)
    WHERE coalesce(i.text, q.extra) IS NOT NULL""",
    "SELECT count(*) FROM doc_ids",
    "SELECT count(*) FROM passages",
)
"""The queries that give the fields of Joined, in order."""

PROBLEM_SCHEMA = pa.schema(
    [("kind", pa.string()), ("query_id", pa.string()), ("doc_id", pa.string()), ("count", pa.int64())]
)

NO_DEPTH = 2**62

EXCLUDED_COLUMNS = ["query_id", "doc_id"]


class Limits(NamedTuple):
    """Which candidates of a run count: of a sample of its queries, and without documents that may not be ranked.

    `excluded` are such documents by query. With `drop_identical_ids` a document with the id of its query is one, too.
    """

    excluded: Mapping[str, Sequence[str]] = {}
    drop_identical_ids: bool = False
    sample: int | None = None
    seed: int = 0


class Removed(NamedTuple):
    """Numbers of candidates that were removed, because they were excluded or have the id of their query."""

    excluded: int
    identical_ids: int


class Joined(NamedTuple):
    """What was found. `queries` and `candidates` count the run cut to the depth, each candidate once.

    `pairs` counts candidates whose query and passage both have text.
    """

    run_lines: int
    queries: int
    candidates: int
    pairs: int
    queries_with_instruction: int
    passages_needed: int
    passages_found: int


class Join:
    """The tables of one preparation. Load the run first, then the texts, then ask for results."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def load_run(self, batches: Iterable[pa.RecordBatch], depth: int | None, limits: Limits | None = None) -> Removed:
        """Load the candidates (RUN_SCHEMA). Keeps the best copy of each, and the best `depth` of each query.

        Candidates that the limits forbid are removed first. Returns their numbers. The order is score
        descending, then the run's rank, then doc_id ascending. (trec_eval ignores ranks, and breaks ties by
        doc_id descending.)
        """
        self._load("run", RUN_SCHEMA, batches)
        removed = self._remove(limits or Limits())
        self._execute(CUT_RUN, {"depth": depth or NO_DEPTH})
        return removed

    def _remove(self, limits: Limits) -> Removed:
        if limits.sample is not None:
            self._delete(SAMPLE, {"sample": limits.sample, "seed": str(limits.seed)})
        pairs = [(query_id, doc_id) for query_id, doc_ids in limits.excluded.items() for doc_id in doc_ids]
        columns = list(zip(*pairs, strict=True)) or [(), ()]
        excluded = pa.table([pa.array(column, pa.string()) for column in columns], EXCLUDED_COLUMNS)
        self._connection.from_arrow(excluded).create("excluded")
        identical = self._delete(DROP_IDENTICAL, {}) if limits.drop_identical_ids else 0
        return Removed(self._delete(EXCLUDE, {}), identical)

    def load_queries(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Load the queries (TEXT_SCHEMA) that the run names."""
        self._load("queries", TEXT_SCHEMA, batches, "query_ids")

    def load_instructions(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Load the instructions of these queries. They replace an instruction that came with a query."""
        self._load("instructions", TEXT_SCHEMA, batches, "query_ids")

    def load_passages(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Load the passages (TEXT_SCHEMA) that the run names."""
        self._load("passages", TEXT_SCHEMA, batches, "doc_ids")

    def count(self) -> Joined:
        """The counts of what was found."""
        return Joined(*map(self._value, COUNTS))

    def find_problems(self) -> pa.Table:
        """The problems of queries and candidates (PROBLEM_SCHEMA), sorted.

        `count` is the number of extra copies, or the number of candidates that the query has.
        """
        return self._ask(PROBLEMS, {}).read_all().cast(PROBLEM_SCHEMA)

    def stream_pairs(self, *, keep: bool) -> Iterator[pa.RecordBatch]:
        """The pairs, sorted by query_id and first-stage rank. With `keep` also those without text."""
        reader = self._ask(PAIRS, {"keep": keep})
        while True:
            with _engine_errors():
                batch = next(reader, None)
            if batch is None:
                return
            yield batch

    def _load(
        self, table: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch], wanted: str | None = None
    ) -> None:
        failures: list[Rank1BatchError] = []
        reader = pa.RecordBatchReader.from_batches(schema, _guard(batches, failures))
        incoming = self._connection.from_arrow(reader)
        if wanted:
            incoming = incoming.join(self._connection.table(wanted), "key", how="semi")
        with _engine_errors():
            incoming.create(table)
        if failures:
            raise failures[0]
        if wanted:
            self._execute(KEEP_FIRST.format(table=table), {})

    def _execute(self, statements: str, parameters: Mapping[str, object]) -> None:
        for statement in filter(str.strip, statements.split(";")):
            with _engine_errors():
                self._connection.execute(statement, {k: v for k, v in parameters.items() if f"${k}" in statement})

    def _delete(self, statement: str, parameters: Mapping[str, object]) -> int:
        """The number of rows that a statement deletes."""
        with _engine_errors():
            row = self._connection.execute(statement, dict(parameters)).fetchone()
        return int(row[0]) if row else 0

    def _ask(self, query: str, parameters: Mapping[str, object]) -> pa.RecordBatchReader:
        with _engine_errors():
            return self._connection.sql(query, params=dict(parameters)).to_arrow_reader(OUTPUT_ROWS)

    def _value(self, query: str) -> int:
        return int(self._ask(query, {}).read_all().column(0)[0].as_py())


@contextlib.contextmanager
def open_join(memory_gb: float, scratch: str | None) -> Iterator[Join]:
    """An empty join that uses at most `memory_gb` of memory. Its files are deleted at the end."""
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch_folder(scratch))
        except OSError as error:
            raise SettingsError([f"scratch: cannot write into the folder {scratch} ({error.strerror})"]) from error
        connection = stack.enter_context(duckdb.connect(str(folder / "join.duckdb")))
        connection.execute(f"SET memory_limit = '{round(memory_gb * 1000)}MB'")
        connection.execute(SETTINGS)
        yield Join(connection)


def _guard(batches: Iterable[pa.RecordBatch], failures: list[Rank1BatchError]) -> Iterator[pa.RecordBatch]:
    """The batches up to an error of this package. The error is stored, since DuckDB would turn it into text."""
    try:
        yield from batches
    except Rank1BatchError as error:
        failures.append(error)


@contextlib.contextmanager
def _engine_errors() -> Iterator[None]:
    """Turns DuckDB's errors about memory or disk into this package's errors."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise SettingsError(
            [f"the join does not fit; raise memory_gb, or choose a scratch folder with more space ({error})"]
        ) from error
    except (duckdb.IOException, OSError) as error:
        raise StorageError(f"the join's scratch disk failed: {error}") from error

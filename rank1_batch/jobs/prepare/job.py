"""The preparation from start to end: sources, join, problems, shards. All is read before anything is written."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from rank1_batch.collection.lines import BrokenLines
from rank1_batch.collection.lists import read_document_lists
from rank1_batch.collection.records import INSTRUCTIONS, PASSAGES, QUERIES
from rank1_batch.collection.runs import read_run
from rank1_batch.collection.sources import (
    FileSource,
    RunFormat,
    Source,
    find_run_format,
    find_sources,
    hash_source,
    name_source,
)
from rank1_batch.collection.texts import read_texts
from rank1_batch.errors import RefusedError, SettingsError
from rank1_batch.jobs.prepare.join import Join, Joined, Limits, Removed, open_join
from rank1_batch.jobs.prepare.settings import OnBrokenLine, OnProblem, PrepareConfig, shaping_settings
from rank1_batch.jobs.prepare.shards import cut_shards, write_shard
from rank1_batch.output.claims import Owner, as_written, check_claim, write_claim
from rank1_batch.output.layout import SUCCESS_PATH, SUMMARY_PATH
from rank1_batch.storage.documents import read_document, write_document
from rank1_batch.storage.parquet import to_parquet
from rank1_batch.storage.store import Store, is_identified, open_store, read_bytes, write_bytes

PROBLEMS_PATH = "_prepare/problems.parquet"

BROKEN_LINES_PATH = "_prepare/broken_lines.txt"

PREPARE = Owner("jobs.prepare", "output.path", "_prepare/job.json")

JOIN_RULES_VERSION = 2
"""Raised by one when the same sources and settings would give other shards than before."""

PROBLEMS_TOLD = 10


class Sources(NamedTuple):
    """The sources that the settings name."""

    run: list[Source]
    queries: list[Source]
    corpus: list[Source]
    instructions: list[Source]
    exclude: list[Source]


class Outcome(NamedTuple):
    """The content of `summary.json`. `nothing_to_do`: it was written by an earlier run."""

    summary: dict[str, Any]
    url: str
    nothing_to_do: bool = False


def run_prepare(config: PrepareConfig, console: Console) -> Outcome:
    """Write the shards of all candidates that have their texts, and a list of problems with the others."""
    sources = find_all_sources(config)
    output = open_store(config.output.path)
    first_stage = {"run": [hash_source(source) for source in sources.run], "depth": config.depth}
    record = build_record(config, sources, first_stage)
    check_sources_apart(output, sources)
    if (earlier := find_earlier(output, sources, record)) is not None:
        return Outcome(earlier, output.url, nothing_to_do=True)
    broken = BrokenLines(skip=config.on_broken_line == OnBrokenLine.SKIP)
    with open_join(config.memory_gb, config.scratch) as join:
        removed = load_run(join, sources, config, broken)
        passages_read = load_texts(join, sources, config, broken, console)
        found, problems = join.count(), join.find_problems()
        check_found(found, problems, config)
        # This is the first write. Everything that can be checked before has been checked.
        write_claim(output, PREPARE, record)
        shards = cut_shards(join.stream_pairs(keep=config.on_problem == OnProblem.KEEP), config.output.shard_rows)
        told = write_shards(output, shards, first_stage)
    told |= {
        "left_out": found.candidates - told["pairs"],
        "problems": count_problems(problems),
        "broken_lines": broken.count,
        "found": {**found._asdict(), "passages_read": passages_read},
        "removed": removed._asdict(),
        "first_stage": first_stage,
    }
    write_problems(output, problems, broken)
    write_document(output, SUMMARY_PATH, told)
    write_bytes(output, SUCCESS_PATH, b"")
    return Outcome(told, output.url)


def find_earlier(output: Store, sources: Sources, record: dict[str, Any]) -> dict[str, Any] | None:
    """The summary of this same preparation, if it is finished here. Raises RefusedError for another one."""
    if not check_claim(output, PREPARE, record):
        return None
    check_identified(sources)
    finished = read_bytes(output, SUCCESS_PATH) is not None
    return read_document(output, SUMMARY_PATH, dict[str, Any]) if finished else None


def write_problems(output: Store, problems: pa.Table, broken: BrokenLines) -> None:
    """Write the list of problems, and the lines that were skipped, if there are any."""
    write_bytes(output, PROBLEMS_PATH, to_parquet(problems))
    if broken.count:
        write_bytes(output, BROKEN_LINES_PATH, "".join(f"{line}\n" for line in broken.listed).encode())


def find_all_sources(config: PrepareConfig) -> Sources:
    """The sources that the settings name. Raises SettingsError that lists all that are missing or unreadable."""
    problems: list[str] = []
    found: dict[str, list[Source]] = {}
    for name in Sources._fields:
        value = getattr(config, name)
        try:
            found[name] = [] if value is None else find_sources(name, value)
            files = [source.file for source in found[name] if name == "run" and isinstance(source, FileSource)]
            for file in files:
                find_run_format(file.path, RunFormat(config.run_format))
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return Sources(**found)


def build_record(config: PrepareConfig, sources: Sources, first_stage: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that affects the shards (settings and sources), in a form that people and code can compare."""
    texts = {name: getattr(sources, name) for name in ("queries", "corpus", "instructions", "exclude")}
    record = {
        "rules": JOIN_RULES_VERSION,
        **shaping_settings(config),
        "run": first_stage["run"],
        **{name: [name_source(source) for source in found] for name, found in texts.items()},
    }
    return as_written(record)


def check_sources_apart(output: Store, sources: Sources) -> None:
    """Raises SettingsError if a source lies in the output folder."""
    inside = f"{output.root}/"
    for source in (source for found in sources for source in found):
        if isinstance(source, FileSource) and source.store.locate(source.file.path).startswith(inside):
            raise SettingsError([f"{source.where} lies in output.path; choose another output.path for the shards"])


def check_identified(sources: Sources) -> None:
    """Raises RefusedError if a source may have changed since an earlier run without anybody seeing it.

    A run is known by the hash of its content.
    """
    files = [source for found in sources[1:] for source in found if isinstance(source, FileSource)]
    unknown = [source.where for source in files if not is_identified(source.file.identity)]
    if unknown:
        raise RefusedError(
            f"{unknown[0]}: its store tells only its size, so nobody can know whether it changed since an earlier run. "
            "Copy it to a disk or an object store, or use another output.path."
        )


def load_run(join: Join, sources: Sources, config: PrepareConfig, broken: BrokenLines) -> Removed:
    """Read the run, and remove what the settings forbid."""
    excluded = {} if config.exclude is None else read_document_lists("exclude", config.exclude)
    limits = Limits(excluded, config.drop_identical_ids, config.sample, config.seed)
    run = read_run(sources.run, RunFormat(config.run_format), config.run_columns, broken)
    return join.load_run(run, config.depth, limits)


def load_texts(join: Join, sources: Sources, config: PrepareConfig, broken: BrokenLines, console: Console) -> int:
    """Read every source of texts once, the corpus last. Returns its number of passages.

    Raises BadFileError for broken lines, unless the settings say to skip them.
    """
    join.load_queries(read_texts(sources.queries, QUERIES, config.queries_columns, broken))
    join.load_instructions(read_texts(sources.instructions, INSTRUCTIONS, {}, broken))
    broken.check()
    passages = _Counted(read_texts(sources.corpus, PASSAGES, config.corpus_columns, broken), console)
    join.load_passages(passages)
    broken.check()
    return passages.rows


def write_shards(output: Store, shards: Iterable[pa.Table], first_stage: Mapping[str, Any]) -> dict[str, Any]:
    """Write all shards. Returns the numbers of shards and pairs."""
    pairs = number = 0
    for number, shard in enumerate(shards, 1):
        write_shard(output, number - 1, shard, first_stage)
        pairs += len(shard)
    return {"pairs": pairs, "shards": number}


def count_problems(problems: pa.Table) -> dict[str, int]:
    """The number of problems of each kind, in the order of the kinds."""
    return {str(row["values"]): int(row["counts"]) for row in pc.value_counts(problems["kind"]).to_pylist()}


def check_found(found: Joined, problems: pa.Table, config: PrepareConfig) -> None:
    """Raises SettingsError if there is nothing to write, or if there are problems and `on_problem` is `fail`."""
    if not found.candidates:
        raise SettingsError(["run: it has no candidates"])
    if problems.num_rows and (config.on_problem == OnProblem.FAIL or not found.pairs):
        counts = ", ".join(f"{count} {kind}" for kind, count in count_problems(problems).items())
        first = [_tell(row) for row in problems.slice(0, PROBLEMS_TOLD).to_pylist()]
        more = [f"… {problems.num_rows} in all"] if problems.num_rows > len(first) else []
        hint = (
            "on_problem=leave_out leaves these pairs out and lists them; on_problem=keep makes them rows with an error"
            if found.pairs
            else "no candidate has texts for both query and passage; check that queries and corpus belong to this run"
        )
        raise SettingsError([counts, *first, *more, hint])


def _tell(problem: Mapping[str, Any]) -> str:
    ids = "/".join(problem[name] for name in ("query_id", "doc_id") if problem[name] is not None)
    return f"  {problem['kind']} {ids}"


class _Counted:
    """Passes batches on, counts their rows, and shows the count on the terminal."""

    def __init__(self, batches: Iterable[pa.RecordBatch], console: Console) -> None:
        self.rows = 0
        self._batches, self._console = batches, console

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        with self._console.status("reading the corpus") as status:
            for batch in self._batches:
                self.rows += len(batch)
                status.update(f"reading the corpus: {self.rows:,} passages")
                yield batch

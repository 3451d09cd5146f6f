"""Makes a golden set from a finished run: a few pairs with short traces, over the full range of scores.

Needs no model and no cluster. Texts come from the input, reasoning and scores from the output.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.console import Console

from rank1_batch.columns import CANDIDATE, FINISH, PASSAGE_TRUNCATED, PROMPT_TOKENS, ROW, SCORE, TRACE_TOKENS
from rank1_batch.errors import SettingsError
from rank1_batch.jobs.golden.settings import GoldenMakerConfig
from rank1_batch.judging.records import Finish
from rank1_batch.output.claims import read_claim
from rank1_batch.output.fingerprint import RERANK
from rank1_batch.output.judgments import TEXTS, join_texts, read_judgments
from rank1_batch.output.success import find_finished_units
from rank1_batch.output.summary import read_summary
from rank1_batch.pairs.inputs import open_input
from rank1_batch.pairs.reader import UnitReader
from rank1_batch.pairs.units import Unit
from rank1_batch.replica.golden import GoldenPair, GoldenSet, write_golden
from rank1_batch.settings import InputConfig
from rank1_batch.storage.store import Store, open_store

UNITS_READ = 64
"""The pairs are chosen from this many units, spread evenly over the plan."""


class Place(NamedTuple):
    """A judged row that could be chosen. Short rows come first, and rows closed by force last."""

    closed: bool
    tokens: int
    unit: int
    row: int
    score: float


def run(config: GoldenMakerConfig, console: Console) -> int:
    """Make the set and print what is in it. Return the exit code."""
    output = open_store(config.output.path)
    fingerprint = read_claim(output, RERANK)
    if fingerprint is None:
        raise SettingsError([f"output.path: {output.url} is not the output of a rerank job"])
    summary = read_summary(output)
    source, _ = open_input(InputConfig(path=config.input.path))
    units = spread(find_finished_units(output).units, UNITS_READ)
    places = choose_places(_read_places(output, units), config.pairs)
    if not places:
        raise SettingsError([f"output.path: {output.url} has no judged rows yet"])
    pairs = tuple(_read_pairs(output, UnitReader(source, fingerprint["columns"], ()), units, places))
    write_golden(config.golden.path, GoldenSet(pairs, fingerprint, summary.versions if summary else {}))
    scores = [pair.score for pair in pairs]
    told = f"{len(pairs)} pairs with scores from {min(scores):.3f} to {max(scores):.3f}: {config.golden.path}"
    console.print(told, markup=False, soft_wrap=True)
    return 0


def spread(units: Sequence[Unit], count: int) -> list[Unit]:
    """This many of the units, at even distances. All of them if there are no more."""
    return [units[place * len(units) // count] for place in range(count)] if len(units) > count else list(units)


def choose_places(places: Iterable[Place], count: int) -> list[Place]:
    """This many rows, spread evenly over the range of scores, in the order of scores.

    The scores from 0 to 1 are cut into as many parts as rows are wanted. Each part gives its first row,
    then its second, until there are enough. So the few uncertain rows are chosen, and they show differences best.
    """
    parts: list[list[Place]] = [[] for _ in range(count)]
    for place in places:
        part = parts[min(int(place.score * count), count - 1)]
        part.append(place)
        if len(part) > 2 * count:
            part[:] = heapq.nsmallest(count, part)
    turns = sorted((turn, place) for part in parts for turn, place in enumerate(sorted(part)[:count]))
    return sorted((place for _, place in turns[:count]), key=lambda place: (place.score, place))


def _read_places(output: Store, units: Sequence[Unit]) -> Iterator[Place]:
    """The rows of these units that have a score, and whose passage was not cut."""
    columns = [SCORE, FINISH, PROMPT_TOKENS, TRACE_TOKENS, PASSAGE_TRUNCATED]
    for number, unit in enumerate(units):
        table = read_judgments(output, unit, columns)
        rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
        for row, (score, finish, prompt_tokens, trace_tokens, truncated) in enumerate(rows):
            if score is not None and not truncated:
                yield Place(finish == Finish.CLOSED, prompt_tokens + trace_tokens, number, row, score)


def _read_pairs(
    output: Store, reader: UnitReader, units: Sequence[Unit], places: Sequence[Place]
) -> Iterator[GoldenPair]:
    """The golden pair of each place, unit by unit."""
    columns = [name for name in GoldenPair._fields if name not in TEXTS]
    for number in sorted({place.unit for place in places}):
        unit = units[number]
        rows, _ = reader.read(unit)
        judged = join_texts(read_judgments(output, unit, [*columns, ROW, CANDIDATE]), rows, f"unit {unit.unit_id}")
        taken = judged.take(sorted(place.row for place in places if place.unit == number))
        yield from (GoldenPair(**row) for row in taken.drop_columns([ROW, CANDIDATE]).to_pylist())

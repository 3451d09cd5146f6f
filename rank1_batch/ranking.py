"""The order of a query's candidates, and scores for a run file that keep that order.

Knows nothing about files or Arrow.
"""

import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple


class Candidate(NamedTuple):
    """A judged candidate. `score` is None where it could not be judged."""

    doc_id: str
    score: float | None
    first_stage_rank: int | None = None
    first_stage_score: float | None = None


def rank_candidates(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The candidates from the best: score descending, then first-stage rank, then doc_id ascending.

    Those without a score come last, in first-stage order. A doc_id that is there twice keeps its
    better place.
    """
    ordered = sorted(candidates, key=_place)
    best: dict[str, Candidate] = {}
    for candidate in ordered:
        best.setdefault(candidate.doc_id, candidate)
    return list(best.values())


def falling_scores(ranked: Sequence[Candidate]) -> Iterator[float]:
    """A score for each ranked candidate, strictly falling also as float32.

    trec_eval ignores the rank of a run, orders by a 32-bit score and breaks ties by descending
    doc_id, so equal scores would lose our order. Each is the candidate's own score, or the next
    float32 below the one before it; candidates without a score go down from -1 in whole steps.
    """
    last, unscored = math.inf, 0
    for candidate in ranked:
        if candidate.score is None:
            unscored += 1
            yield -float(unscored)
            continue
        last = min(_float32(candidate.score), _below(last))
        yield last


def _place(candidate: Candidate) -> tuple[bool, float, float, str]:
    score, rank = candidate.score, candidate.first_stage_rank
    return score is None, -(score or 0.0), math.inf if rank is None else rank, candidate.doc_id


def _float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


def _below(value: float) -> float:
    """The next smaller float32."""
    if math.isinf(value):
        return value
    bits = struct.unpack("i", struct.pack("f", value))[0]
    if value > 0:
        bits -= 1
    else:
        bits = bits + 1 if value < 0 else -(2**31) + 1
    return float(struct.unpack("f", struct.pack("i", bits))[0])

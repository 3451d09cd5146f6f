import itertools
import random
import struct
from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.columns import DOC_ID, FIRST_STAGE_RANK, FIRST_STAGE_SCORE, QUERY_ID, RANK, SCORE
from rank1_batch.output.order import RUN_SCORE, rank_rows


class Candidate(NamedTuple):
    """A row of one query."""

    doc_id: str
    score: float | None
    first_stage_rank: int | None = None
    first_stage_score: float | None = None


def rank_table(found: Iterable[Candidate], query_id: str = "q") -> pa.Table:
    columns = {DOC_ID: pa.string(), SCORE: pa.float64(), FIRST_STAGE_RANK: pa.int64(), FIRST_STAGE_SCORE: pa.float64()}
    values = list(zip(*found, strict=True)) or [()] * len(columns)
    table = pa.table(
        [pa.array(column, kind) for column, kind in zip(values, columns.values(), strict=True)], [*columns]
    )
    return rank_rows(table.append_column(QUERY_ID, pa.array([query_id] * len(table), pa.string())))


def rank_candidates(found: Iterable[Candidate]) -> list[Candidate]:
    ranked = rank_table(found)
    assert ranked[RANK].to_pylist() == list(range(1, len(ranked) + 1))
    columns = (DOC_ID, SCORE, FIRST_STAGE_RANK, FIRST_STAGE_SCORE)
    return [Candidate(*row) for row in zip(*(ranked[name].to_pylist() for name in columns), strict=True)]


def falling_scores(ranked: Iterable[Candidate]) -> list[float]:
    return list(rank_table(ranked)[RUN_SCORE].to_pylist())


scores = st.one_of(
    st.none(),
    st.floats(0.0, 1.0),
    st.sampled_from([0.0, 1.0, 0.5, 1.0 - 2**-53, 1.0 - 2**-30, 5e-324, 1e-45, 1e-40]),
)
doc_ids = st.text(alphabet="abcdef0123", min_size=1, max_size=4)
candidates = st.builds(Candidate, doc_ids, scores, st.none() | st.integers(1, 20), st.none() | st.floats(-5, 30))
candidate_lists = st.lists(candidates, max_size=30)
rankings = st.lists(candidates, max_size=30, unique_by=lambda candidate: candidate.doc_id).map(rank_candidates)


def float32(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


@given(candidate_lists)
def test_every_doc_id_is_ranked_once_and_none_is_made_up(found: list[Candidate]) -> None:
    ranked = rank_candidates(found)
    assert sorted(candidate.doc_id for candidate in ranked) == sorted({candidate.doc_id for candidate in found})
    assert set(ranked) <= set(found)


@given(candidate_lists)
def test_better_candidates_stand_before_worse_ones(found: list[Candidate]) -> None:
    """Score descending, then first-stage rank (none is last), then doc_id; without a score last of all."""
    for a, b in itertools.pairwise(rank_candidates(found)):
        if a.score is None or b.score is None or a.score == b.score:
            assert not (a.score is None and b.score is not None)
            if (a.score is None) == (b.score is None):
                a_rank, b_rank = a.first_stage_rank or 99, b.first_stage_rank or 99
                assert a_rank < b_rank or (a_rank == b_rank and a.doc_id < b.doc_id)
        else:
            assert a.score > b.score


@given(candidate_lists, st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_where_rows_were_found(found: list[Candidate], chance: random.Random) -> None:
    unique = list({candidate.doc_id: candidate for candidate in found}.values())
    shuffled = list(unique)
    chance.shuffle(shuffled)
    assert rank_candidates(shuffled) == rank_candidates(unique)


def test_a_doc_id_that_is_there_twice_keeps_its_better_place() -> None:
    ranked = rank_candidates([Candidate("a", 0.9), Candidate("b", 0.5), Candidate("a", 0.1)])
    assert ranked == [Candidate("a", 0.9), Candidate("b", 0.5)]


@given(candidate_lists)
def test_doubles_change_nothing_but_what_their_better_place_says(found: list[Candidate]) -> None:
    """The ranking of a list with doubles is that of the list from which the worse doubles were taken."""
    best: dict[str, Candidate] = {}
    for candidate in found:
        best[candidate.doc_id] = rank_candidates([candidate, best.get(candidate.doc_id, candidate)])[0]
    assert [candidate[:3] for candidate in rank_candidates(found)] == [
        candidate[:3] for candidate in rank_candidates(best.values())
    ]


def test_candidates_without_a_score_come_last_in_first_stage_order() -> None:
    ranked = rank_candidates(
        [Candidate("x", None, 2), Candidate("z", 0.0, 9), Candidate("w", None, None), Candidate("y", None, 1)]
    )
    assert [candidate.doc_id for candidate in ranked] == ["z", "y", "x", "w"]


@given(rankings)
def test_run_scores_fall_strictly_as_32_bit_floats(ranked: list[Candidate]) -> None:
    written = [float32(score) for score in falling_scores(ranked)]
    assert len(written) == len(ranked)
    assert all(a > b for a, b in itertools.pairwise(written))


@given(rankings)
def test_run_scores_are_written_as_the_32_bit_floats_that_they_are(ranked: list[Candidate]) -> None:
    assert all(score == float32(float(repr(score))) for score in falling_scores(ranked))


@given(rankings)
def test_a_candidate_keeps_its_own_score_where_that_falls(ranked: list[Candidate]) -> None:
    last = float("inf")
    for candidate, written in zip(ranked, falling_scores(ranked), strict=True):
        if candidate.score is not None:
            own = float32(candidate.score)
            assert written == own if own < last else own - 1e-4 < written < last
        last = written


@given(rankings)
def test_unscored_candidates_go_down_from_minus_one_in_whole_steps(ranked: list[Candidate]) -> None:
    written = list(falling_scores(ranked))
    unscored = [score for candidate, score in zip(ranked, written, strict=True) if candidate.score is None]
    assert unscored == [-float(n) for n in range(1, len(unscored) + 1)]
    assert all(score > -1e-4 for score in written[: len(written) - len(unscored)])


@given(rankings)
def test_sorting_a_run_as_trec_eval_does_gives_our_order(ranked: list[Candidate]) -> None:
    """trec_eval reads a score as a C float, sorts by it descending, and ties by doc_id descending."""
    run = [
        (float32(float(repr(score))), candidate.doc_id)
        for candidate, score in zip(ranked, falling_scores(ranked), strict=True)
    ]
    assert [doc_id for _, doc_id in sorted(run, reverse=True)] == [candidate.doc_id for candidate in ranked]


@given(candidate_lists, candidate_lists)
def test_each_query_is_ranked_as_if_it_were_alone(one: list[Candidate], other: list[Candidate]) -> None:
    both = [
        {QUERY_ID: query_id, **dict(zip((DOC_ID, SCORE, FIRST_STAGE_RANK, FIRST_STAGE_SCORE), row, strict=True))}
        for query_id, rows in (("b", other), ("a", one))
        for row in rows
    ]
    alone = pa.concat_tables([rank_table(one, "a"), rank_table(other, "b")])
    schema = alone.schema.remove(alone.schema.get_field_index(RUN_SCORE))
    assert rank_rows(pa.Table.from_pylist(both, schema)).equals(alone)


def test_trec_eval_itself_sees_tied_candidates_at_our_ranks() -> None:
    """The reciprocal rank of each document, were it the only relevant one, as trec_eval computes it."""
    pytrec_eval = pytest.importorskip("pytrec_eval")
    tied = [Candidate(doc_id, 1.0 - 1e-12 * n, n) for n, doc_id in enumerate("dacbe", 1)]
    lower = [Candidate(doc_id, 0.0, n) for n, doc_id in enumerate("ihgf", 6)]
    ranked = rank_candidates([*tied, *lower, Candidate("y", None, 11), Candidate("z", None, 10)])
    run = {candidate.doc_id: score for candidate, score in zip(ranked, falling_scores(ranked), strict=True)}
    ranks = {}
    for doc_id in run:
        evaluator = pytrec_eval.RelevanceEvaluator({"q": {doc_id: 1}}, {"recip_rank"})
        ranks[doc_id] = round(1 / evaluator.evaluate({"q": run})["q"]["recip_rank"])
    assert sorted(ranks, key=ranks.__getitem__) == list("dacbeihgfzy")
    assert sorted(ranks.values()) == list(range(1, 12))

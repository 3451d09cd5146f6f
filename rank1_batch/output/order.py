"""The order of queries' candidates, and scores for a run file that keep that order. Knows nothing about files."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rank1_batch.columns import DOC_ID, FIRST_STAGE_RANK, FIRST_STAGE_SCORE, QUERY_ID, RANK, SCORE

RUN_SCORE = "run_score"

RANKING_SCHEMA = pa.schema(
    [
        (QUERY_ID, pa.string()),
        (DOC_ID, pa.string()),
        (RANK, pa.int32()),
        (SCORE, pa.float64()),
        (FIRST_STAGE_RANK, pa.int64()),
        (FIRST_STAGE_SCORE, pa.float64()),
    ]
)

ORDER = [
    (QUERY_ID, "ascending"),
    (SCORE, "descending"),
    (FIRST_STAGE_RANK, "ascending"),
    (DOC_ID, "ascending"),
    (FIRST_STAGE_SCORE, "descending"),  # for rows that are equal but for it: they come in one order, too
]

MORE_THAN_ANY_KEY = 2**33

Integers = npt.NDArray[np.int64]


def rank_rows(rows: pa.Table) -> pa.Table:
    """All candidates of some queries, of RANKING_SCHEMA without `rank` → the same by query and rank.

    From the best: score descending, then first-stage rank, then doc_id ascending. Those without a
    score come last, in first-stage order. A doc_id that a query has twice keeps its better place.
    A missing id counts as the empty one. `run_score` is added, see `_falling_scores`.
    """
    ids = {name: pc.fill_null(rows[name], "") for name in (QUERY_ID, DOC_ID)}
    known = pa.table({name: ids.get(name, rows[name]) for name in RANKING_SCHEMA.names if name != RANK})
    ordered = known.take(pc.sort_indices(known, sort_keys=ORDER))
    ordered = ordered.take(pa.array(_find_first_copies(ordered)))
    queries = _number_values(ordered[QUERY_ID])
    ranks = _count_from_one(queries)
    scores = _falling_scores(queries, ranks, ordered[SCORE])
    ranked = ordered.append_column(RANK, pa.array(ranks)).select(RANKING_SCHEMA.names).cast(RANKING_SCHEMA)
    return ranked.append_column(RUN_SCORE, pa.array(scores))


def _find_first_copies(ordered: pa.Table) -> Integers:
    """The places at which a query's doc_id stands for the first time."""
    queries, docs = (_number_values(ordered[name]) for name in (QUERY_ID, DOC_ID))
    return np.sort(np.unique(queries * (len(docs) + 1) + docs, return_index=True)[1])


def _number_values(column: pa.ChunkedArray) -> Integers:
    """Equal values get equal numbers, from 0 in the order of their first places."""
    encoded = column.combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.to_numpy(), np.int64)


def _count_from_one(queries: Integers) -> Integers:
    """1, 2, 3 … in each run of equal numbers."""
    places = np.arange(len(queries))
    begins = np.diff(queries, prepend=-1) != 0
    return np.asarray(places - np.maximum.accumulate(np.where(begins, places, 0)) + 1, np.int64)


def _falling_scores(queries: Integers, ranks: Integers, scores: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """A score for each ranked candidate, strictly falling in its query also as float32.

    trec_eval ignores the rank of a run, orders by a 32-bit score and breaks ties by descending
    doc_id, so equal scores would lose our order. Each is the candidate's own score, or the next
    float32 below the one before it; candidates without a score go down from -1 in whole steps.
    """
    scored = scores.is_valid().to_numpy()
    keys = _to_keys(pc.fill_null(scores, 0.0).to_numpy().astype(np.float32))
    # least[i] = min(keys[i], least[i - 1] - 1) in each query: a running minimum of keys[i] + i, which
    # begins anew at each query because each lies as a whole below the one before.
    steps = keys + ranks - queries * MORE_THAN_ANY_KEY
    falling = _from_keys(np.minimum.accumulate(steps) + queries * MORE_THAN_ANY_KEY - ranks)
    unscored_places = ranks - np.bincount(queries, weights=scored)[queries] if len(queries) else ranks
    return np.where(scored, falling, -unscored_places)


def _to_keys(values: npt.NDArray[np.float32]) -> Integers:
    """Integers in the order of the floats, with neighbours for neighbours; one for both zeros."""
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits >= 0, bits, -(2**31) - bits)


def _from_keys(keys: Integers) -> npt.NDArray[np.float64]:
    bits = np.where(keys >= 0, keys, -(2**31) - keys).astype(np.int32)
    return bits.view(np.float32).astype(np.float64)

"""How good an order is, by people's grades: measures by ir-measures, ours beside the first stage's."""

from collections.abc import Sequence
from pathlib import Path

import ir_measures
import pyarrow as pa

from rank1_batch.schema import DOC_ID, FIRST_STAGE_RANK, QUERY_ID

Qrels = list[ir_measures.Qrel]


def read_qrels(path: str | Path) -> Qrels:
    """People's grades from a TREC qrels file (query_id, 0, doc_id, relevance a line)."""
    return list(ir_measures.read_trec_qrels(str(path)))  # type: ignore[no-untyped-call] # ships no types for it


def measure_ranking(ranking: pa.Table, qrels: Qrels, measures: Sequence[str], by: str = "rank") -> dict[str, float]:
    """Mean of each measure over the queries that are both ranked and graded.

    `ranking` has query_id, doc_id and the column `by`, a rank from 1. Measures have ir-measures'
    names, such as nDCG@10.
    """
    columns = (ranking[name].to_pylist() for name in (QUERY_ID, DOC_ID, by))
    run = [ir_measures.ScoredDoc(query, doc, -float(rank)) for query, doc, rank in zip(*columns, strict=True)]
    queries = {scored.query_id for scored in run}
    graded = [qrel for qrel in qrels if qrel.query_id in queries]
    found = ir_measures.calc_aggregate([ir_measures.parse_measure(name) for name in measures], graded, run)
    return {str(measure): value for measure, value in found.items()}


def measure_first_stage(ranking: pa.Table, qrels: Qrels, measures: Sequence[str]) -> dict[str, float]:
    """The same measures of the order in which the candidates came."""
    return measure_ranking(ranking, qrels, measures, by=FIRST_STAGE_RANK)

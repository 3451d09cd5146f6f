import pyarrow as pa
import pytest

from rank1_batch import Reranker, rerank
from rank1_batch.errors import SettingsError
from tests.support.tiny_model import tiny_pairs

SCRIPTED = ["engine=scripted", "policy.max_thinking_tokens=200"]


def test_a_table_comes_back_judged_in_its_own_order() -> None:
    pairs = tiny_pairs(50)
    judged = rerank(pairs, model="some/checkpoint", overrides=SCRIPTED)
    assert judged["doc_id"].to_pylist() == pairs["doc_id"].to_pylist()
    assert judged["row"].to_pylist() == list(range(50))
    assert all(0 <= score <= 1 for score in judged["score"].to_pylist())
    assert set(judged["finish"].to_pylist()) <= {"complete", "closed"}
    assert "unit_id" not in judged.column_names


def test_a_loaded_model_judges_several_tables_alike() -> None:
    with Reranker("some/checkpoint", SCRIPTED) as reranker:
        first, second = (reranker.rerank(tiny_pairs(20)) for _ in range(2))
    assert first.equals(second)


def test_a_row_that_cannot_be_judged_says_why() -> None:
    pairs = pa.table({"query_id": ["q", "q"], "query": ["x", None], "doc_id": ["a", "b"], "text": ["", "y"]})
    judged = rerank(pairs, model="some/checkpoint", overrides=SCRIPTED)
    assert judged["score"].to_pylist() == [None, None]
    assert judged["error"].to_pylist() == ["the passage is empty", "the query is null"]


def test_missing_columns_are_named() -> None:
    with Reranker("some/checkpoint", SCRIPTED) as reranker, pytest.raises(SettingsError, match="no column 'doc_id'"):
        reranker.rerank(pa.table({"query_id": ["q"], "query": ["x"], "passage": ["y"]}))

"""Batch reranking with Rank1 models: shards of query-passage pairs in, scores and reasoning out."""

from rank1_batch.api import Reranker, rerank

__all__ = ["Reranker", "rerank"]

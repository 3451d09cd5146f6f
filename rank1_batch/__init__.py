"""Batch reranking with Rank1 models: shards of query-passage pairs in, scores and reasoning out."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rank1_batch.api import Reranker, rerank

__all__ = ["Reranker", "rerank"]


def __getattr__(name: str) -> Any:
    # Only when asked for: Arrow and the stores take most of the time that --help takes.
    if name in __all__:
        return getattr(importlib.import_module("rank1_batch.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

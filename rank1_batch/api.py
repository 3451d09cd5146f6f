"""Judging a table in one process, for notebooks: the job's own core without Ray and storage."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import pyarrow as pa

from rank1_batch.cli.choices import list_choices
from rank1_batch.columns import UNIT_ID
from rank1_batch.engines.cross_encoder import resolve_cross_encoder
from rank1_batch.errors import SettingsError
from rank1_batch.output.judgments import build_judgments
from rank1_batch.pairs.layout import find_layout, flatten, read_pairs
from rank1_batch.replica.loop import Replica
from rank1_batch.settings import load_config


class Reranker:
    """A loaded model that judges tables. Use it in a `with` block, or `close` it.

    `model` is a choice of `conf/model` (`rank1_7b_awq`, …), a Hugging Face id or a folder;
    `overrides` are settings as on the command line (`"engine=vllm_cpu"`, …). Raises SettingsError.
    """

    def __init__(self, model: str = "rank1_7b_awq", overrides: Sequence[str] = ()) -> None:
        known = model in list_choices()["model"]
        choice = [f"model={model}"] if known else ["model=custom", f"model.name={model}"]
        # A table has no paths, which the settings of a job require.
        self._config = load_config([*choice, "input.path=table", "output.path=table_judged", *overrides])
        self._replica = Replica(resolve_cross_encoder(self._config))

    def rerank(self, pairs: pa.Table) -> pa.Table:
        """A judgment for each pair, in the order of `pairs`.

        Columns in as for the job: query_id, query, doc_id, passage (or text), optionally title,
        instruction, first_stage_rank and first_stage_score; or a list of candidates a row.
        Columns out as in `judgments/` (docs/semantics.md), without `unit_id`. A row that cannot be
        judged has an `error` and no score. Raises SettingsError for missing columns.
        """
        settings = self._config.input
        layout, problems = find_layout(pairs.schema, settings.columns, settings.keep)
        if problems:
            raise SettingsError(problems)
        rows = flatten(pairs, layout, first_row=0)
        judgments = self._replica.judge(read_pairs(rows))
        return build_judgments(rows, judgments, "", layout.keep).drop_columns([UNIT_ID])

    def close(self) -> None:
        """End the engine."""
        self._replica.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def rerank(pairs: pa.Table, model: str = "rank1_7b_awq", overrides: Sequence[str] = ()) -> pa.Table:
    """Judge one table: load the model, judge, and end it. For several tables use `Reranker`."""
    with Reranker(model, overrides) as reranker:
        return reranker.rerank(pairs)

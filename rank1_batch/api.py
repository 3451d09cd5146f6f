"""Judging tables in one process, for notebooks and scripts: the job's own core without Ray and storage."""

import importlib
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import pyarrow as pa

from rank1_batch.cli.choices import list_choices
from rank1_batch.columns import UNIT_ID
from rank1_batch.engines.cross_encoder import resolve_cross_encoder
from rank1_batch.errors import Rank1BatchError, SettingsError
from rank1_batch.output.judgments import build_judgments
from rank1_batch.pairs.layout import find_layout, flatten, read_pairs
from rank1_batch.replica.loop import Replica
from rank1_batch.settings import RerankConfig, load_config

Settings = Mapping[str, Any] | Sequence[str]
"""Settings by name (`{"policy.max_thinking_tokens": 512}`), or as on the command line (`["engine=vllm_cpu"]`)."""

Progress = Callable[[int, int], object]
"""Is called with the number of pairs that are judged and the number of all, in the engine's thread."""

Frame = TypeVar("Frame")
"""A pyarrow Table, or a DataFrame of pandas or polars."""

QUIET_ENGINE = "engine.env.VLLM_LOGGING_LEVEL=ERROR"

NO_GUARD = """\
{script} has no `if __name__ == "__main__":`. The engine runs in a process of its own, which begins by importing the \
script, and would start another engine. Write:

    if __name__ == "__main__":
        judged = rank1_batch.rerank(pairs)
"""


class Reranker:
    """A loaded model that judges tables. Use it in a `with` block, or `close` it.

    Args:
        model: A choice of `conf/model` (`rank1_7b_awq`, …), a Hugging Face id, or a folder.
        settings: Settings of `jobs.rerank` by name, nested or with dots, or a list of words as on the command line.
            Those of `model`, `engine`, `reader`, `prompt`, `policy`, `input.columns` and `input.keep` have an effect.
        quiet: Whether to leave out the engine's log. Its errors are always shown.
        groups: The same settings as keywords: a choice (`engine="vllm_cpu"`), or a dict
            (`policy={"max_thinking_tokens": 512}`). They win over `settings`.

    Raises:
        SettingsError: A setting is wrong, the model cannot be loaded, or the script has no `__main__` guard.
    """

    def __init__(
        self, model: str | Path = "rank1_7b_awq", settings: Settings = (), *, quiet: bool = True, **groups: Any
    ) -> None:
        self._config = _load_settings(str(model), [*_spell_settings(settings), *_spell_settings(groups)], quiet=quiet)
        self._replica: Replica | None = _start_replica(self._config)

    def rerank(self, pairs: Frame, on_progress: Progress | None = None) -> Frame:
        """A judgment for each pair, in the order of `pairs`, as the kind of table that came in.

        Ctrl-C ends the call and all that it asked of the engine. The next call begins at once.

        Args:
            pairs: A pyarrow Table, or a DataFrame of pandas or polars. Columns as for the job: query_id, query, doc_id,
                passage (or text), optionally title, instruction, first_stage_rank and first_stage_score; or a list of
                candidates a row.
            on_progress: Is called after each pair with the number of judged pairs and of all pairs. It runs in the
                engine's thread, and should be quick.

        Returns:
            Columns as in `judgments/` (docs/semantics.md) without `unit_id`: `score` from 0 to 1, `label`, `trace` and
            others. A row that cannot be judged has an `error` and no score.

        Raises:
            SettingsError: A column is missing, or `pairs` is something else than a table.
            EngineDiedError: The engine died. Close this Reranker, and make another.
            Rank1BatchError: This Reranker is closed.
        """
        if self._replica is None:
            raise Rank1BatchError("This Reranker is closed. Make another one, or keep it in its `with` block.")
        settings, table = self._config.input, _to_arrow(pairs)
        layout, problems = find_layout(table.schema, settings.columns, settings.keep)
        if problems:
            raise SettingsError(problems)
        rows = flatten(table, layout, first_row=0)
        judgments = self._replica.judge(read_pairs(rows), on_row=_count(on_progress, len(rows)))
        judged = build_judgments(rows, judgments, "", layout.keep).drop_columns([UNIT_ID])
        return cast(Frame, _to_kind_of(pairs, judged))

    def close(self) -> None:
        """End the engine and free its memory. More calls do nothing."""
        replica, self._replica = self._replica, None
        if replica is not None:
            replica.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def rerank(
    pairs: Frame,
    model: str | Path = "rank1_7b_awq",
    settings: Settings = (),
    *,
    on_progress: Progress | None = None,
    quiet: bool = True,
    **groups: Any,
) -> Frame:
    """Judge one table: load the model, judge, and end it. For several tables use `Reranker`.

    Arguments, result and errors are those of `Reranker` and `Reranker.rerank`.
    """
    with Reranker(model, settings, quiet=quiet, **groups) as reranker:
        return reranker.rerank(pairs, on_progress)


def _load_settings(model: str, words: list[str], *, quiet: bool) -> RerankConfig:
    known = model in list_choices()["model"]
    choice = [f"model={model}"] if known else ["model=custom", f"model.name={model}"]
    # A table has no paths, which the settings of a job require.
    return load_config(
        [*choice, "input.path=table", "output.path=table_judged", *([QUIET_ENGINE] if quiet else []), *words]
    )


def _spell_settings(settings: Settings, prefix: str = "") -> Iterator[str]:
    """The settings as words of a command line."""
    if not isinstance(settings, Mapping):
        yield from settings
        return
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _spell_settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}={_spell(value)}"


def _spell(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(_quote(_spell(element)) for element in value)}]"
    return str(value)


def _quote(element: str) -> str:
    """An element of a list, in quotes if it has a comma in it."""
    mark = "'" if '"' in element else '"'
    return f"{mark}{element}{mark}" if "," in element else element


def _start_replica(config: RerankConfig) -> Replica:
    if _is_started_by_engine():
        sys.exit(NO_GUARD.format(script=sys.argv[0]))
    try:
        return Replica(resolve_cross_encoder(config))
    except RuntimeError as error:  # vLLM's, when its own process ended
        if _has_no_guard():
            raise SettingsError([NO_GUARD.format(script=sys.argv[0])]) from None
        raise SettingsError([f"{config.model.name}: the engine did not start: {error}"]) from error


def _is_started_by_engine() -> bool:
    """Whether this process is an engine's own, and imports the script of its parent."""
    return bool(getattr(multiprocessing.current_process(), "_inheriting", False))


def _has_no_guard() -> bool:
    """Whether this process runs a script that does not ask for its `__name__`."""
    script = Path(sys.argv[0])
    return script.suffix == ".py" and script.is_file() and "__name__" not in script.read_text(errors="replace")


def _count(on_progress: Progress | None, total: int) -> Callable[[], None]:
    """Calls `on_progress` with one more pair each time."""
    done = 0

    def count_one() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, total)

    return count_one


def _to_arrow(pairs: object) -> pa.Table:
    if isinstance(pairs, pa.Table):
        return pairs
    if _library(pairs) == "pandas" and hasattr(pairs, "columns"):
        return pa.Table.from_pandas(pairs, preserve_index=False)
    if hasattr(pairs, "__arrow_c_stream__"):
        return pa.table(pairs)
    raise SettingsError([f"pairs must be a pyarrow Table or a DataFrame of pandas or polars, not {type(pairs)}"])


def _to_kind_of(pairs: object, judged: pa.Table) -> Any:
    """The table as a pandas or polars DataFrame if `pairs` is one."""
    if _library(pairs) == "pandas":
        return judged.to_pandas()
    if _library(pairs) == "polars":
        return importlib.import_module("polars").from_arrow(judged)
    return judged


def _library(table: object) -> str:
    return type(table).__module__.partition(".")[0]

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from rank1_batch import Reranker, rerank
from rank1_batch.errors import Rank1BatchError, SettingsError
from tests.support.paths import ROOT
from tests.support.seaweed import wait_for
from tests.support.tiny_model import tiny_pairs

SCRIPTED: dict[str, Any] = {"engine": "scripted", "policy": {"max_thinking_tokens": 200}}


def test_a_table_comes_back_judged_in_its_own_order() -> None:
    pairs = tiny_pairs(50)
    judged = rerank(pairs, model="some/checkpoint", **SCRIPTED)
    assert judged["doc_id"].to_pylist() == pairs["doc_id"].to_pylist()
    assert judged["row"].to_pylist() == list(range(50))
    assert all(0 <= score <= 1 for score in judged["score"].to_pylist())
    assert set(judged["finish"].to_pylist()) <= {"complete", "closed"}
    assert "unit_id" not in judged.column_names


def test_a_loaded_model_judges_several_tables_alike() -> None:
    with Reranker("some/checkpoint", **SCRIPTED) as reranker:
        first, second = (reranker.rerank(tiny_pairs(20)) for _ in range(2))
    assert first.equals(second)


def test_a_row_that_cannot_be_judged_says_why() -> None:
    pairs = pa.table({"query_id": ["q", "q"], "query": ["x", None], "doc_id": ["a", "b"], "text": ["", "y"]})
    judged = rerank(pairs, model="some/checkpoint", **SCRIPTED)
    assert judged["score"].to_pylist() == [None, None]
    assert judged["error"].to_pylist() == ["the passage is empty", "the query is null"]


def test_missing_columns_are_named() -> None:
    with Reranker("some/checkpoint", **SCRIPTED) as reranker, pytest.raises(SettingsError, match="no column 'doc_id'"):
        reranker.rerank(pa.table({"query_id": ["q"], "query": ["x"], "passage": ["y"]}))


@pytest.mark.parametrize(
    ("settings", "groups"),
    [
        (["engine=scripted", "policy.max_thinking_tokens=150", "input.keep=[a,b]", "model.revision=null"], {}),
        (
            {
                "engine": "scripted", "policy.max_thinking_tokens": 150, "input": {"keep": ["a", "b"]},
                "model": {"revision": None},
            },
            {},
        ),
        (
            {"policy": {"max_thinking_tokens": 9}},
            {"engine": "scripted", "policy": {"max_thinking_tokens": 150}, "input": {"keep": ("a", "b")}},
        ),
    ],
    ids=["words", "dict", "keywords"],
)  # fmt: skip
def test_settings_are_words_a_dict_or_keywords(settings: Any, groups: dict[str, Any]) -> None:
    with Reranker("some/checkpoint", settings, **groups) as reranker:
        config = reranker._config
    assert config.engine.kind == "scripted"
    assert config.policy.max_thinking_tokens == 150
    assert config.input.keep == ["a", "b"]


def test_a_setting_that_is_no_setting_is_named() -> None:
    with pytest.raises(SettingsError, match="max_thinking_token"):
        Reranker("some/checkpoint", engine="scripted", policy={"max_thinking_token": 1})


@pytest.mark.parametrize("model", ["/a folder/with blanks", "/name=value/x", Path("/a,b/[c]"), "rank1_7b_awq"])
def test_a_model_may_be_a_choice_or_any_path(model: str | Path) -> None:
    with Reranker(model, engine="scripted") as reranker:
        name = reranker._config.model.name
    assert name == ("jhu-clsp/rank1-7b-awq" if model == "rank1_7b_awq" else str(model))


def test_a_data_frame_comes_back_as_its_own_kind() -> None:
    pairs = tiny_pairs(10)
    frame, lists = pairs.to_pandas(), pl.from_arrow(pairs)
    frame.index = pd.Index(range(5, 15), name="doc_id")  # an index is no column
    with Reranker("some/checkpoint", **SCRIPTED) as reranker:
        judged = reranker.rerank(pairs)
        of_pandas, of_polars = reranker.rerank(frame), reranker.rerank(lists)
    assert isinstance(of_pandas, pd.DataFrame)
    assert isinstance(of_polars, pl.DataFrame)
    for other in (of_pandas["score"].tolist(), of_polars["score"].to_list()):
        assert other == judged["score"].to_pylist()
    assert list(of_pandas.columns) == of_polars.columns == judged.column_names


def test_what_is_no_table_is_refused() -> None:
    with Reranker("some/checkpoint", **SCRIPTED) as reranker, pytest.raises(SettingsError, match="not <class 'list'>"):
        reranker.rerank([("query", "passage")])


def test_closing_twice_is_as_good_as_once_and_later_calls_say_so() -> None:
    reranker = Reranker("some/checkpoint", **SCRIPTED)
    reranker.close()
    reranker.close()
    with pytest.raises(Rank1BatchError, match="closed"):
        reranker.rerank(tiny_pairs(1))


def test_progress_counts_every_pair_also_those_that_cannot_be_judged() -> None:
    pairs = pa.concat_tables([tiny_pairs(9), tiny_pairs(1).set_column(3, "passage", [[""]])], promote_options="default")
    calls: list[tuple[int, int]] = []
    rerank(pairs, "some/checkpoint", on_progress=lambda done, total: calls.append((done, total)), **SCRIPTED)
    assert calls == [(done, 10) for done in range(1, 11)]


def test_ctrl_c_ends_a_call_and_the_next_one_begins_at_once() -> None:
    """Pairs take a minute each, and there are more of them than the engine takes at a time."""
    slow = {"engine.args.seconds_per_token": 0.1, "engine.max_num_seqs": 2, "policy.max_thinking_tokens": 600}
    empty = tiny_pairs(1).set_column(3, "passage", [[""]])
    pairs, begun = pa.concat_tables([empty, tiny_pairs(12)], promote_options="default"), threading.Event()
    with Reranker("some/checkpoint", slow, engine="scripted") as reranker:
        interrupt = threading.Thread(target=press_ctrl_c, args=(begun,))
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            reranker.rerank(pairs, on_progress=lambda done, total: begun.set())
        interrupt.join()
        start = time.monotonic()
        assert reranker.rerank(empty)["error"].to_pylist() == ["the passage is empty"]
        assert time.monotonic() - start < 10


def press_ctrl_c(begun: threading.Event) -> None:
    """When the main thread waits for the engine."""
    begun.wait(30)
    main = threading.main_thread().ident or 0
    wait_for(lambda: sys._current_frames()[main].f_code.co_name == "wait", "nothing is waited for")
    os.kill(os.getpid(), signal.SIGINT)


def test_a_script_without_a_main_guard_is_told_what_to_write(tmp_path: Path) -> None:
    """As vLLM starts its engine: a process that begins by importing the script. The scripted engine starts none."""
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import multiprocessing, sys\n"
        "import rank1_batch\n"
        "def work(): pass\n"
        "if __name__ == '__main__':\n"
        "    process = multiprocessing.get_context('spawn').Process(target=work)\n"
        "    process.start(); process.join(); sys.exit(process.exitcode)\n"
        "rank1_batch.Reranker('some/checkpoint', engine='scripted')\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f'{script} has no `if __name__ == "__main__":`' in done.stderr
    assert "Traceback" not in done.stderr

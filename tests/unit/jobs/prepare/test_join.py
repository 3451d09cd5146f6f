import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rank1_batch.collection.runs import RUN_SCHEMA
from rank1_batch.collection.texts import TEXT_SCHEMA
from rank1_batch.errors import SettingsError, StorageError
from rank1_batch.jobs.prepare.join import Join, Limits, Removed, open_join


class Line(NamedTuple):
    query_id: str
    doc_id: str
    rank: int | None
    score: float | None


class Text(NamedTuple):
    key: str
    text: str | None
    extra: str | None = None


ids = st.sampled_from(["1", "01", "#", "é", "B", "a", "a\x00b"])
lines = st.builds(Line, ids, ids, st.none() | st.integers(-2, 3), st.sampled_from([None, 0.5, 1.0, -1.0, math.inf]))
texts = st.builds(Text, ids, st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=3), st.none() | ids)
runs, text_lists = st.lists(lines, max_size=12), st.lists(texts, max_size=6)


def batches(schema: pa.Schema, rows: list[Any]) -> Iterator[pa.RecordBatch]:
    """Two batches, numbered through."""
    numbered = [(*row, number) for number, row in enumerate(rows)]
    for part in (numbered[:2], numbered[2:]):
        columns = list(zip(*part, strict=True)) or [()] * len(schema)
        yield pa.record_batch([pa.array(c, kind) for c, kind in zip(columns, schema.types, strict=True)], schema=schema)


def load(
    join: Join, run: list[Line], depth: int | None, queries: list[Text], passages: list[Text],
    instructions: tuple[Text, ...] = (),
) -> None:  # fmt: skip
    join.load_run(batches(RUN_SCHEMA, run), depth)
    join.load_queries(batches(TEXT_SCHEMA, queries))
    join.load_instructions(batches(TEXT_SCHEMA, list(instructions)))
    join.load_passages(batches(TEXT_SCHEMA, passages))


def rows(join: Join, *, keep: bool = False) -> list[dict[str, Any]]:
    return [row for batch in join.stream_pairs(keep=keep) for row in batch.to_pylist()]


def problems(join: Join) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in join.find_problems().to_pylist()]


def order(line: Line) -> tuple[float, float, bytes]:
    score = -math.inf if line.score is None else line.score
    return -score, math.inf if line.rank is None else line.rank, line.doc_id.encode()


def cut_by_hand(run: list[Line], depth: int) -> list[tuple[str, str, int]]:
    """What the join should make of a run, in plain Python: (query_id, doc_id, place)."""
    found = []
    for query_id in sorted({line.query_id for line in run}, key=str.encode):
        ordered = sorted((line for line in run if line.query_id == query_id), key=order)
        docs = list(dict.fromkeys(line.doc_id for line in ordered))[:depth]
        found += [(query_id, doc_id, place) for place, doc_id in enumerate(docs, 1)]
    return found


def first_texts(found: list[Text]) -> dict[str, str | None]:
    return {text.key: text.text for text in reversed(found)}


def first_passages(found: list[Text]) -> dict[str, str | None]:
    """A title without text is a passage with an empty text."""
    return {text.key: "" if text.text is None and text.extra is not None else text.text for text in reversed(found)}


@settings(max_examples=20)  # each opens a database of its own
@given(runs, st.integers(1, 3), text_lists, text_lists)
def test_the_join_is_that_of_plain_python(
    run: list[Line], depth: int, queries: list[Text], passages: list[Text]
) -> None:
    """Every candidate is a pair or a problem; pairs are sorted by query, places count from 1."""
    candidates = cut_by_hand(run, depth)
    query_texts, passage_texts = first_texts(queries), first_passages(passages)
    whole = [c for c in candidates if query_texts.get(c[0]) is not None and passage_texts.get(c[1]) is not None]
    with open_join(0.25, None) as join:
        load(join, run, depth, queries, passages)
        pairs, kept, found, told = rows(join), rows(join, keep=True), join.count(), problems(join)
    assert [(pair["query_id"], pair["doc_id"], pair["first_stage_rank"]) for pair in pairs] == whole
    assert [(pair["query"], pair["passage"]) for pair in pairs] == [
        (query_texts[query], passage_texts[doc]) for query, doc, _ in whole
    ]
    assert [(pair["query_id"], pair["doc_id"], pair["first_stage_rank"]) for pair in kept] == candidates
    assert (found.run_lines, found.candidates, found.pairs) == (len(run), len(candidates), len(whole))
    blamed = {(q, d) for _, q, d, _ in told} | {(q, None) for kind, q, *_ in told if kind.endswith("_query")}
    assert all((c[0], None) in blamed or (c[0], c[1]) in blamed for c in set(candidates) - set(whole))


def test_candidates_stand_in_the_order_of_score_rank_and_doc_id() -> None:
    """In trec_eval's order ties are broken by doc_id alone, descending; here the run's own rank comes first."""
    run = [
        Line("q", "worst", 1, 0.5), Line("q", "b", 3, 1.0), Line("q", "z", 2, 1.0), Line("q", "a", 3, 1.0),
        Line("q", "no-rank", None, 1.0), Line("q", "no-score", 1, None), Line("q", "best", 9, 2.0),
    ]  # fmt: skip
    with open_join(0.25, None) as join:
        load(join, run, None, [Text("q", "query")], [Text(line.doc_id, "text") for line in run])
        pairs = rows(join)
    assert [pair["doc_id"] for pair in pairs] == ["best", "z", "a", "b", "no-rank", "worst", "no-score"]
    assert [pair["first_stage_rank"] for pair in pairs] == list(range(1, 8))
    assert pairs[0]["first_stage_score"] == 2.0
    assert pairs[-1]["first_stage_score"] is None


def test_what_is_wrong_is_listed_by_kind_and_identifier() -> None:
    run = [
        Line("1", "a", 1, 3.0), Line("1", "b", 2, 2.0), Line("1", "c", 3, 1.0), Line("1", "a", 4, 0.5),
        Line("2", "a", 1, 1.0), Line("2", "b", 2, 0.5), Line("3", "a", 1, 1.0),
    ]  # fmt: skip
    queries = [Text("1", "one"), Text("1", "another"), Text("3", None), Text("unused", None)]
    passages = [Text("a", "A"), Text("b", None), Text("a", "A again"), Text("a", "A"), Text("unused", None)]
    with open_join(0.25, None) as join:
        load(join, run, None, queries, passages)
        told, [pair] = problems(join), rows(join)
    assert told == [
        ("duplicate_candidate", "1", "a", 1),
        ("duplicate_passage", None, "a", 2),
        ("duplicate_query", "1", None, 1),
        ("empty_passage", "1", "b", 1),
        ("empty_passage", "2", "b", 1),
        ("empty_query", "3", None, 1),
        ("missing_passage", "1", "c", 1),
        ("missing_query", "2", None, 2),
    ]
    assert (pair["query"], pair["passage"], pair["first_stage_score"]) == ("one", "A", 3.0)


def test_a_document_with_only_a_title_is_a_passage() -> None:
    """Many of TREC-COVID's documents are. The reference judges `f"{title} {text}"`."""
    run = [Line("1", "titled", 1, 2.0), Line("1", "bare", 2, 1.0)]
    with open_join(0.25, None) as join:
        load(join, run, None, [Text("1", "one")], [Text("titled", None, "Title"), Text("bare", None)])
        [pair], told, found = rows(join), problems(join), join.count()
    assert (pair["title"], pair["passage"]) == ("Title", "")
    assert told == [("empty_passage", "1", "bare", 1)]
    assert (found.pairs, found.candidates) == (1, 2)


def test_candidates_below_the_depth_are_no_problem() -> None:
    run = [Line("1", "a", 1, 2.0), Line("1", "missing", 2, 1.0)]
    with open_join(0.25, None) as join:
        load(join, run, 1, [Text("1", "one")], [Text("a", "A")])
        assert problems(join) == []
        assert join.count().passages_needed == 1


def test_documents_that_may_not_be_ranked_make_room_for_others() -> None:
    """BRIGHT's excluded ids, and a document with the id of its query, as mteb's `ignore_identical_ids` leaves out."""
    run = [Line("1", doc_id, rank, -rank) for rank, doc_id in enumerate(["out", "1", "a", "b"], 1)]
    run += [Line("2", "out", 1, 1.0)]
    limits = Limits({"1": ["out", "unknown"]}, drop_identical_ids=True)
    with open_join(0.25, None) as join:
        removed = join.load_run(batches(RUN_SCHEMA, run), 1, limits)
        candidates = join._connection.sql("SELECT query_id, doc_id, place FROM candidates ORDER BY 1").fetchall()
    assert removed == Removed(excluded=1, identical_ids=1)
    assert candidates == [("1", "a", 1), ("2", "out", 1)]


@pytest.mark.parametrize("seed", range(3))
def test_a_sample_is_of_whole_queries_and_the_same_everywhere(seed: int) -> None:
    run = [Line(f"q{n % 20}", f"d{n}", n, float(-n)) for n in range(60)]
    chosen = sorted({line.query_id for line in run}, key=lambda q: hashlib.sha256(f"{seed}\n{q}".encode()).hexdigest())[
        :5
    ]
    for rows in (run, run[::-1]):
        with open_join(0.25, None) as join:
            join.load_run(batches(RUN_SCHEMA, rows), None, Limits(sample=5, seed=seed))
            found = join._connection.sql("SELECT query_id, count(*) FROM candidates GROUP BY 1").fetchall()
        assert sorted(found) == sorted((query_id, 3) for query_id in chosen)


def test_an_instruction_of_its_own_file_goes_before_that_of_the_query() -> None:
    run = [Line(query, "a", 1, 1.0) for query in "123"]
    queries = [Text("1", "one", "old"), Text("2", "two", "kept"), Text("3", "three")]
    with open_join(0.25, None) as join:
        load(join, run, None, queries, [Text("a", "A", "Title")], (Text("1", "new"), Text("9", "unused")))
        assert [row["instruction"] for row in rows(join)] == ["new", "kept", None]
        assert {row["title"] for row in rows(join)} == {"Title"}
        assert join.count().queries_with_instruction == 2


def test_an_error_of_a_reader_comes_out_as_it_is() -> None:
    def failing() -> Iterator[pa.RecordBatch]:
        yield from batches(RUN_SCHEMA, [Line("1", "a", 1, 1.0)])
        raise StorageError("s3://bucket/run.trec: no answer")

    with open_join(0.25, None) as join, pytest.raises(StorageError, match="no answer"):
        join.load_run(failing(), None)


def test_a_scratch_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(SettingsError, match=r"scratch: cannot write into the folder .*none"),
        open_join(1, str(tmp_path / "none")),
    ):
        pass


def test_nothing_is_left_on_the_scratch_disk(tmp_path: Path) -> None:
    with open_join(0.25, str(tmp_path)) as join:
        load(join, [Line("1", "a", 1, 1.0)], None, [Text("1", "one")], [Text("a", "A")])
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_the_corpus_is_never_the_side_of_the_join_that_is_held() -> None:
    """DuckDB takes a stream for one row, and left to choose it would hold the stream and not the doc_ids."""
    with open_join(0.25, None) as join:
        load(join, [Line("1", "a", 1, 1.0)], None, [], [])
        corpus = pa.RecordBatchReader.from_batches(TEXT_SCHEMA, batches(TEXT_SCHEMA, []))
        join._connection.register("stream", corpus)
        plan = join._connection.sql("EXPLAIN SELECT * FROM stream SEMI JOIN doc_ids USING (key)").fetchall()[0][1]
    assert "Join Type: SEMI" in plan
    assert plan.index("ARROW_SCAN") < plan.index("doc_ids")


def test_the_scratch_folder_may_be_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with open_join(memory_gb=0.5, scratch="~"):
        assert list(tmp_path.iterdir())

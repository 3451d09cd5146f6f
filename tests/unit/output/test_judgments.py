from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.columns import REQUIRED
from rank1_batch.judging.records import Finish, Judgment, failed_judgment
from rank1_batch.output.judgments import JUDGMENT_TYPES, build_judgments, parse_judgments
from rank1_batch.pairs.layout import Layout, find_layout, flatten


def layout_of(schema: pa.Schema, mapping: dict[str, str] | None = None, keep: tuple[str, ...] = ()) -> Layout:
    layout, problems = find_layout(schema, mapping or {}, keep)
    assert problems == []
    return layout


JUDGED = Judgment(
    0.75, -0.3, -1.4, True, Finish.COMPLETE, "why\n", 120, 33, passage_truncated=False, error=None,
    answer_logprobs=(-0.3, -1.4),
)  # fmt: skip


def test_judgments_have_the_columns_of_the_design_with_their_types() -> None:
    table = pa.table(
        {
            **{name: pa.array([7, 8]) for name in ("query_id", "doc_id")},
            **{name: ["a", "b"] for name in ("query", "passage", "lang")},
            "first_stage_rank": pa.array([1, None], pa.int16()),
            "first_stage_score": pa.array([12.5, None], pa.float32()),
        }
    )
    flat = flatten(table, layout_of(table.schema, keep=("lang",)), 5)
    built = build_judgments(flat, [JUDGED, failed_judgment("because")], "0123", ("lang",))
    assert {field.name: str(field.type) for field in built.schema} == {
        "query_id": "string",
        "doc_id": "string",
        "score": "double",
        "true_logprob": "double",
        "false_logprob": "double",
        "label": "bool",
        "finish": "string",
        "trace": "string",
        "prompt_tokens": "int32",
        "trace_tokens": "int32",
        "passage_truncated": "bool",
        "error": "string",
        "answer_logprobs": "list<item: double>",
        "grade": "double",
        "unit_id": "string",
        "row": "int64",
        "candidate": "int32",
        "first_stage_rank": "int64",
        "first_stage_score": "double",
        "lang": "string",
    }
    good, failed = built.to_pylist()
    assert {name: good[name] for name in JUDGMENT_TYPES} == {**JUDGED._asdict(), "answer_logprobs": [-0.3, -1.4]}
    assert (good["query_id"], good["doc_id"], good["row"], good["unit_id"]) == ("7", "7", 5, "0123")
    assert (good["first_stage_rank"], good["first_stage_score"], good["lang"]) == (1, 12.5, "a")
    assert (failed["score"], failed["label"], failed["finish"]) == (None, None, "error")
    assert (failed["error"], failed["lang"], failed["row"]) == ("because", "b", 6)


def test_every_unit_has_the_same_columns_with_or_without_a_first_stage() -> None:
    plain = pa.table({name: ["a"] for name in REQUIRED})
    rich = plain.append_column("first_stage_rank", pa.array([3], pa.uint8()))
    schemas = [
        build_judgments(flatten(table, layout_of(table.schema), 0), [JUDGED], "u", ()).schema for table in (plain, rich)
    ]
    assert schemas[0] == schemas[1]


@given(st.lists(st.sampled_from(["judged", "failed"]), max_size=20))
def test_there_is_a_row_out_for_every_row_in_in_their_order(kinds: list[str]) -> None:
    table = pa.table({name: pa.array([str(i) for i in range(len(kinds))], pa.string()) for name in REQUIRED})
    judgments = [JUDGED if kind == "judged" else failed_judgment(kind) for kind in kinds]
    built = build_judgments(flatten(table, layout_of(table.schema), 0), judgments, "u", ())
    assert built["doc_id"].to_pylist() == [str(i) for i in range(len(kinds))]
    assert Counter(built["finish"].to_pylist()) == Counter(str(judgment.finish) for judgment in judgments)


GRADED = JUDGED._replace(true_logprob=None, false_logprob=None, answer_logprobs=(-0.3, -1.4, -9.0), grade=2.0)


@pytest.mark.parametrize("judgment", [JUDGED, GRADED, failed_judgment("because")])
def test_judgments_are_read_as_they_were_written(judgment: Judgment) -> None:
    table = pa.table({name: ["a"] for name in REQUIRED})
    built = build_judgments(flatten(table, layout_of(table.schema), 0), [judgment], "u", ())
    assert parse_judgments(built) == [judgment]


@pytest.mark.parametrize("judgment", [JUDGED, failed_judgment("because")])
def test_files_of_earlier_versions_without_the_new_columns_are_read(judgment: Judgment) -> None:
    table = pa.table({name: ["a"] for name in REQUIRED})
    built = build_judgments(flatten(table, layout_of(table.schema), 0), [judgment], "u", ())
    assert parse_judgments(built.drop_columns(["answer_logprobs", "grade"])) == [judgment]

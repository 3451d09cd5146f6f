"""Each format, field by field; `integration/test_export.py` reads them with the loaders of trainers."""

import pytest

from rank1_batch.jobs.export.formats import FORMATS, Example, Query, Record, Style, check_qrels_id, check_rank1_template
from rank1_batch.judging.prompts import RANK1_TEMPLATE

GOOD = Example("d1", True, 0.9, True, "complete", "u1", 4, None, "A lamp.", "Lamps", "\nIt is one.\n")
BAD = Example("d2", False, 0.1, False, "closed", "u2", 7, 3, "A river.", None, "\nNo lamp here. And the")
QUERY = Query("q1", "lamps", [GOOD], [BAD])
SOFT, HARD = Style(template=RANK1_TEMPLATE), Style(soft=False, template=RANK1_TEMPLATE)


def build(name: str, query: Query = QUERY, style: Style = SOFT) -> list[Record]:
    return list(FORMATS[name].build(query, style))


@pytest.mark.parametrize("name", FORMATS)
def test_every_chosen_row_is_in_a_record(name: str) -> None:
    assert {example for record in build(name) for example in record.examples} == {GOOD, BAD}


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.schema])
@pytest.mark.parametrize("style", [SOFT, HARD])
def test_parquet_formats_have_exactly_the_columns_of_their_schema(name: str, style: Style) -> None:
    form = FORMATS[name]
    assert form.schema is not None
    assert all(list(record.value) == form.schema(style).names for record in build(name, style=style))


def test_tevatron_has_title_and_text_apart() -> None:
    (record,) = build("tevatron")
    assert record.value == {
        "query_id": "q1",
        "query": "lamps",
        "positive_passages": [{"docid": "d1", "title": "Lamps", "text": "A lamp.", "score": 0.9}],
        "negative_passages": [{"docid": "d2", "title": "", "text": "A river.", "score": 0.1}],
    }


def test_labeled_pairs_have_one_target_soft_or_hard() -> None:
    assert [record.value for record in build("st_pairs")] == [
        {"query": "lamps", "passage": "Lamps A lamp.", "score": 0.9},
        {"query": "lamps", "passage": "A river.", "score": 0.1},
    ]
    assert [record.value["label"] for record in build("st_pairs", style=HARD)] == [1.0, 0.0]


def test_triplets_are_every_positive_with_every_negative() -> None:
    query = QUERY._replace(negatives=[BAD, BAD._replace(doc_id="d3", passage="A bird.", score=0.2)])
    first, second = build("st_triplets", query)
    assert first.value == {"query": "lamps", "positive": "Lamps A lamp.", "negative": "A river.", "scores": [0.9, 0.1]}
    assert second.value["negative"] == "A bird."
    assert "scores" not in build("st_triplets", query, HARD)[0].value


def test_labeled_lists_have_a_target_for_each_document() -> None:
    (record,) = build("st_lists")
    assert record.value == {"query": "lamps", "docs": ["Lamps A lamp.", "A river."], "scores": [0.9, 0.1]}
    assert build("st_lists", style=HARD)[0].value["labels"] == [1.0, 0.0]


def test_flagembedding_has_a_prompt_only_where_one_was_asked_for() -> None:
    (record,) = build("flagembedding")
    assert record.value == {
        "query": "lamps",
        "pos": ["Lamps A lamp."],
        "neg": ["A river."],
        "pos_scores": [0.9],
        "neg_scores": [0.1],
    }
    assert build("flagembedding", style=Style(prompt="Find lamps: "))[0].value["prompt"] == "Find lamps: "


def test_scores_are_by_query_and_document() -> None:
    assert [record.value for record in build("scores")] == [("q1", {"d1": 0.9, "d2": 0.1})]


def test_qrels_have_four_fields() -> None:
    assert [record.value for record in build("qrels")] == ["q1 0 d1 1", "q1 0 d2 0"]


@pytest.mark.parametrize("name", ["a b", "", "#1", "a\tb", "a\u00a0b"])
def test_an_id_that_would_not_stay_one_field_of_qrels_is_told(name: str) -> None:
    (problem,) = check_qrels_id(name)
    assert repr(name) in problem
    assert not check_qrels_id("msmarco_v2#1")


def test_rank1_lines_are_the_prompt_and_the_verdict_after_the_reasoning() -> None:
    good, bad = (record.value for record in build("rank1"))
    assert good == {
        "instruction": RANK1_TEMPLATE.split("\n")[0],
        "input": "Query: lamps\nPassage: Lamps A lamp.",
        "output": "<think>\nIt is one.\n</think> true",
    }
    # closed by force: as the verdict was read, cut back to the last sentence
    assert bad["output"] == "<think>\nNo lamp here.\n</think> false"


def test_rank1_lines_have_the_data_sets_prompt_and_take_texts_as_they_are() -> None:
    style = SOFT._replace(dataset_prompt="Claim: FILL_QUERY_HERE")
    query = Query("q", "a {passage}", [GOOD._replace(title=None, passage="{query}")], [])
    (record,) = build("rank1", query, style)
    assert record.value["input"] == "Query: Claim: a {passage}\nPassage: {query}"


@pytest.mark.parametrize("template", ["{query}\n{passage}\n<think>", "Judge.\n{query} {passage}", "{query} {passage}"])
def test_a_prompt_that_cannot_be_cut_is_told(template: str) -> None:
    assert check_rank1_template(template)
    assert not check_rank1_template(RANK1_TEMPLATE)

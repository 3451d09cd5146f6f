import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.collection.lines import WrongFormatError
from rank1_batch.collection.records import INSTRUCTIONS, PASSAGES, QUERIES, JsonParser, Row, TsvParser, find_names

PASSAGE_NAMES = find_names(PASSAGES, {})
words = st.text(st.characters(codec="utf-8"), max_size=20)
keys = words.filter(bool)
cells = st.text(st.characters(codec="utf-8", exclude_characters="\t\r\n"), max_size=20)


@given(keys, words | st.none(), words | st.none(), st.sampled_from(["_id", "id", "doc_id", "docid"]))
def test_a_written_json_record_is_read_as_it_was(key: str, text: str | None, title: str | None, name: str) -> None:
    line = json.dumps({name: key, "text": text, "title": title, "metadata": {"url": [1, None]}})
    assert JsonParser(PASSAGE_NAMES).parse(line) == Row(key, text, title)


@given(st.integers())
def test_a_whole_number_as_key_becomes_text(number: int) -> None:
    assert JsonParser(PASSAGE_NAMES).parse(f'{{"_id": {number}, "contents": "t"}}') == Row(str(number), "t", None)


def test_a_key_keeps_its_zeros() -> None:
    assert JsonParser(PASSAGE_NAMES).parse('{"_id": "007", "text": "t"}').key == "007"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"_id": "1", "text": "t"', "truncated"),
        ('{"_id": "1", "text": "t"} x', "trailing characters"),
        ("1", "no doc_id"),
        ('{"text": "t"}', "no doc_id"),
        ('{"_id": "1"}', "no passage"),
        ('{"_id": "", "text": "t"}', "the doc_id is empty"),
        ('{"_id": 1.5, "text": "t"}', "got `float`"),
        ('{"_id": true, "text": "t"}', "got `bool`"),
        ('{"_id": 1.5, "text": cut', "JSON is malformed"),
        ('{"_id": "1", "text": ["t"]}', "got `array`"),
        ('{"_id": "1", "text": "\\ud800"}', r"\\ud800 is half of a character \(a lone surrogate\)"),
        ('{"_id": "1", "text": "\\ud83d \\ude00"}', r"\\ud83d is half of a character"),
    ],
)
def test_what_is_wrong_with_a_json_line_is_said(line: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        JsonParser(PASSAGE_NAMES).parse(line)


@given(st.text(st.characters(codec="utf-8")), st.sampled_from([0, 3, 9, 14, 20]))
def test_any_line_is_a_record_or_broken(text: str, place: int) -> None:
    """No other error than ValueError comes out, wherever a good line is spoilt."""
    good = '{"_id": "1", "text": "t"}'
    for line in (text, good[:place] + text + good[place:]):
        with contextlib.suppress(ValueError):
            assert JsonParser(PASSAGE_NAMES).parse(line).key


def test_the_name_that_the_user_gives_is_the_only_one_looked_for() -> None:
    parse = JsonParser(find_names(QUERIES, {"query_id": "number", "query": "title"})).parse
    assert parse('{"number": 3, "_id": "x", "title": "q", "text": "long", "instruction": "i"}') == Row("3", "q", "i")
    with pytest.raises(ValueError, match=r"no query_id \(a field number\)"):
        parse('{"_id": "x", "title": "q"}')


@pytest.mark.parametrize("line", ['[{"_id": "1", "text": "t"},', "[\n", "{\n", '[{"_id": "1", "text": "t"}]'])
def test_json_that_is_not_one_object_a_line_is_refused_once(line: str) -> None:
    with pytest.raises(WrongFormatError, match="there must be one JSON object in each line"):
        JsonParser(PASSAGE_NAMES).parse(line)


def test_an_array_after_the_first_line_is_a_broken_line() -> None:
    parser = JsonParser(PASSAGE_NAMES)
    parser.parse('{"_id": "1", "text": "t"}')
    with pytest.raises(ValueError, match="no doc_id"):
        parser.parse("[1]")


@pytest.mark.parametrize("empty", ["null", '""', '" "'])
def test_a_null_passage_beside_a_good_text_does_no_harm(empty: str) -> None:
    parse = JsonParser(PASSAGE_NAMES).parse
    assert parse(f'{{"_id": "1", "passage": {empty}, "text": "good"}}') == Row("1", "good")
    assert parse('{"_id": "2", "passage": "first", "text": "second"}') == Row("2", "first")
    assert parse('{"_id": "3", "passage": null, "text": null, "contents": 7}') == Row("3", None)


def test_names_may_change_inside_a_file() -> None:
    parse = JsonParser(PASSAGE_NAMES).parse
    lines = ('{"_id": "1", "text": "a"}', '{"docid": 2, "contents": "b", "title": "t"}', '{"text": "c", "_id": 3}')
    assert [parse(line) for line in lines] == [Row("1", "a"), Row("2", "b", "t"), Row("3", "c")]


def test_a_name_given_to_one_column_is_no_longer_anothers() -> None:
    assert "text" not in find_names(PASSAGES, {"title": "text"})["passage"]


@given(cells.filter(bool), cells)
def test_a_tsv_without_header_has_a_key_and_a_text(key: str, text: str) -> None:
    tsv = TsvParser(PASSAGE_NAMES)
    line = f"{key}\t{text}\n"
    if not line.strip() or tsv.skip(line):
        return
    assert tsv.parse(line) == Row(key, text)


def test_quotes_mean_nothing_in_a_tsv() -> None:
    tsv = TsvParser(PASSAGE_NAMES)
    assert not tsv.skip('1\t"so" he\n')
    assert tsv.parse('1\t"so" he\n') == Row("1", '"so" he')


def test_a_first_line_of_names_says_where_columns_stand() -> None:
    """The form of DPR's passages."""
    tsv = TsvParser(PASSAGE_NAMES)
    assert tsv.skip("id\ttext\ttitle\r\n")
    assert not tsv.skip("id\ttext\ttitle\r\n")
    assert tsv.parse("7\tA passage.\tTitle\r\n") == Row("7", "A passage.", "Title")
    with pytest.raises(ValueError, match="2 fields split by tabs, but there must be 3"):
        tsv.parse("7\tA passage.")


def test_a_tsv_of_other_columns_needs_a_first_line_of_names() -> None:
    tsv = TsvParser(PASSAGE_NAMES)
    assert not tsv.skip("D1\thttp://a\tTitle\tBody\n")
    with pytest.raises(ValueError, match=r"4 fields .* there must be 2: doc_id and passage"):
        tsv.parse("D1\thttp://a\tTitle\tBody\n")
    with pytest.raises(ValueError, match="the doc_id is empty"):
        tsv.parse("\ttext")


def test_instructions_are_records_of_two_columns() -> None:
    tsv = TsvParser(find_names(INSTRUCTIONS, {}))
    assert tsv.skip("query_id\tinstruction\n")
    assert tsv.parse("1\tOnly recent ones.\n") == Row("1", "Only recent ones.")

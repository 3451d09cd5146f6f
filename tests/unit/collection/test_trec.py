import contextlib
import math
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.collection.trec import (
    Qrel,
    RunLine,
    is_beir_header,
    is_comment,
    parse_beir_qrel_line,
    parse_qrel_line,
    parse_ranked_line,
    parse_run_line,
    parse_scored_line,
)
from tests.support.paths import DATA

GOLDEN = DATA / "trec_eval"
BLANKS = " \t\n\r\v\f"

fields = st.text(st.characters(codec="utf-8", exclude_characters=BLANKS), min_size=1, max_size=8)
blanks = st.text(alphabet=" \t", min_size=1, max_size=3)
scores = st.floats(allow_nan=False)
ranks = st.integers(-(10**18) + 1, 10**18 - 1)


def read_lines(name: str) -> list[str]:
    return (GOLDEN / name).read_text().split("\n")


@given(st.builds(RunLine, fields, fields, ranks, scores, fields), blanks, st.sampled_from(["", "\r\n", " more junk\n"]))
def test_a_written_run_line_is_read_as_it_was(written: RunLine, blank: str, end: str) -> None:
    fields = [written.query_id, "Q0", written.doc_id, str(written.rank), repr(written.score), written.tag]
    assert parse_run_line(blank.join(fields) + end) == written


@given(fields, fields, scores, ranks)
def test_written_lines_of_three_columns_are_read_as_they_were(
    query_id: str, doc_id: str, score: float, rank: int
) -> None:
    assert parse_scored_line(f"{query_id}\t{doc_id}\t{score!r}\n") == RunLine(query_id, doc_id, None, score)
    assert parse_ranked_line(f"{query_id}\t{doc_id}\t{rank}\r\n") == RunLine(query_id, doc_id, rank, None)


@given(fields, fields, fields, st.integers(-127, 127), blanks)
def test_written_grades_are_read_as_they_were(
    query_id: str, doc_id: str, iteration: str, relevance: int, blank: str
) -> None:
    line = blank.join([query_id, iteration, doc_id, str(relevance)])
    assert parse_qrel_line(line) == Qrel(query_id, doc_id, relevance, iteration)
    assert parse_beir_qrel_line(f"{query_id}\t{doc_id}\t{relevance}\n") == Qrel(query_id, doc_id, relevance)


@given(st.text(st.characters(codec="utf-8")))
def test_any_line_is_a_record_or_a_sentence(line: str) -> None:
    """Nothing but ValueError comes out, and no record has an empty identifier."""
    for parse in (parse_run_line, parse_scored_line, parse_ranked_line, parse_qrel_line, parse_beir_qrel_line):
        with contextlib.suppress(ValueError):
            record = parse(line)
            assert record.query_id
            assert record.doc_id


def test_identifiers_stay_text() -> None:
    line = parse_run_line("007 Q0 doc#1 1 2.5 bm25")
    assert (line.query_id, line.doc_id) == ("007", "doc#1")
    assert parse_qrel_line("007 0 CR#93E-1860 0").doc_id == "CR#93E-1860"


def test_a_no_break_space_is_part_of_an_identifier() -> None:
    """C's isspace() does not take it for a blank, Python's split() would."""
    assert parse_run_line("1 Q0 a\u00a0b 1 2.5 bm25").doc_id == "a\u00a0b"


def test_a_rank_that_is_no_number_is_none_as_nobody_reads_it() -> None:
    assert parse_run_line("1 Q0 d - 2.5 bm25").rank is None


@pytest.mark.parametrize("line", ["", "\n", " \t\r\n", "# a comment", "  # too", "#1 Q0 d 1 2.5 bm25"])
def test_blank_lines_and_lines_that_begin_with_a_hash_say_nothing(line: str) -> None:
    assert is_comment(line)


@pytest.mark.parametrize("line", ["1 Q0 #d 1 2.5 x", "1 0 d# 1"])
def test_a_hash_inside_a_line_is_no_comment(line: str) -> None:
    assert not is_comment(line)


@pytest.mark.parametrize(
    ("parse", "line", "reason"),
    [
        (parse_run_line, "1 Q0 d 1 2.5", "5 fields, but a TREC run has six"),
        (parse_run_line, "1 Q0 d 1 2 x\r1 Q0 e 2 1 x\r", "one line holds several"),
        (parse_run_line, "1 Q0 d 1 high bm25", "the score 'high' is not a number"),
        (parse_run_line, "1 Q0 d 1 nan bm25", "the score 'nan' is not a number"),
        (parse_run_line, "1 Q0 d 1 1_000 bm25", "the score '1_000' is not a number"),
        (parse_run_line, "1 Q0 d 1 \u0661 bm25", "is not a number"),
        (parse_scored_line, "1 d 2.5", "1 fields split by tabs, but there must be three"),
        (parse_scored_line, "1\t\t2.5", "an identifier is empty"),
        (parse_ranked_line, "1\td\t2.5", "the rank '2.5' is not a whole number"),
        (parse_ranked_line, f"1\td\t{'9' * 5000}", "is not a whole number"),
        (parse_qrel_line, "1 0 d 1 junk", "5 fields, but TREC qrels have four"),
        (parse_qrel_line, "1 0 d 0.5", "the relevance '0.5' is not a whole number"),
        (parse_beir_qrel_line, "query-id\tcorpus-id\tscore", "the relevance 'score' is not"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_line_is_said(parse: Callable[[str], object], line: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse(line)


@pytest.mark.parametrize(("text", "grade"), [("1.0", 1), ("2.000", 2), ("-1.0", -1), ("0.0", 0)])
def test_a_grade_may_be_written_with_zero_decimals(text: str, grade: int) -> None:
    """As pandas writes whole numbers beside a missing one."""
    assert parse_qrel_line(f"q 0 d {text}").relevance == grade
    assert parse_beir_qrel_line(f"q\td\t{text}").relevance == grade


def test_the_header_of_beir_is_known() -> None:
    assert is_beir_header("query-id\tcorpus-id\tscore\r\n")
    assert not is_beir_header("1\tdoc\t1\n")


def test_infinite_scores_have_a_place_in_an_order() -> None:
    assert parse_run_line("1 Q0 d 1 -inf x").score == -math.inf


def test_trec_evals_own_run_is_read_whole() -> None:
    """out.test says num_q 3 and num_ret 1500; ties in it are common, ranks are in no order."""
    run = [parse_run_line(line) for line in read_lines("results.test") if not is_comment(line)]
    assert len(run) == 1500
    assert {line.query_id for line in run} == {"301", "302", "303"}
    assert run[0] == RunLine("301", "FR940202-2-00150", 104, 2.129133, "STANDARD")


def test_junk_after_the_sixth_column_is_not_read() -> None:
    """results.trunc is a part of results.test with words at the ends of lines."""
    whole = set(map(parse_run_line, filter(None, read_lines("results.test"))))
    cut = [parse_run_line(line) for line in read_lines("results.trunc") if not is_comment(line)]
    assert cut
    assert set(cut) <= whole


def test_qrels_with_comments_hold_the_same_grades() -> None:
    plain = [parse_qrel_line(line) for line in read_lines("qrels.test") if not is_comment(line)]
    commented = [parse_qrel_line(line) for line in read_lines("qrels.test.with-comments") if not is_comment(line)]
    assert len(plain) == len(commented)
    differing = [(a.doc_id, b.doc_id) for a, b in zip(plain, commented, strict=True) if a != b]
    assert differing == [("CR93E-1860", "CR#93E-1860")]
    # out.test counts the relevant: num_rel of all queries.
    expected = next(line.split()[2] for line in read_lines("out.test") if line.startswith("num_rel "))
    assert sum(qrel.relevance > 0 for qrel in plain) == int(expected)

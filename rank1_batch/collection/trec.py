"""Parses the field's line formats for runs and qrels, one line at a time.

Fields are split and comments are skipped as in trec_eval (usnistgov/trec_eval @f425365,
`get_trec_results.c` and `get_qrels.c`). Every parser returns a record, or raises ValueError that says
what is wrong. The caller knows the file and the line. Identifiers stay text.
"""

import math
import re
from typing import NamedTuple

BEIR_QRELS_HEADER = ("query-id", "corpus-id", "score")
"""The first line of BEIR's `qrels/*.tsv`, as fields."""

RUN_FIELDS, SCORED_FIELDS, QREL_FIELDS = 6, 3, 4

LONGEST_INTEGER = 18
"""A whole number of up to this many digits always fits into 64 bits."""

# The characters that isspace() counts as blanks in the C locale. str.split() would also split at a no-break space.
_fields = re.compile(r"[^ \t\n\r\v\f]+").findall


_zero_decimals = re.compile(r"(?<=[0-9])\.0+$")
"""What some tools write behind whole grades, as in `1.0`."""


class RunLine(NamedTuple):
    """A candidate of a run. `rank` and `score` are None if the line does not have them."""

    query_id: str
    doc_id: str
    rank: int | None
    score: float | None
    tag: str = ""


class Qrel(NamedTuple):
    """A grade from people. `iteration` is TREC's second column, which nobody reads."""

    query_id: str
    doc_id: str
    relevance: int
    iteration: str = "0"


def is_comment(line: str) -> bool:
    """Whether a line of a TREC file is to be skipped: it is blank, or begins with `#`.

    A later `#` is part of a field, such as a doc_id. A blank line is skipped in qrels and runs.
    trec_eval skips it in runs only, and calls it an error in qrels.
    """
    text = line.lstrip(" \t\n\r\v\f")
    return not text or text[0] == "#"


def parse_run_line(line: str) -> RunLine:
    """A line of a TREC run: query_id, Q0, doc_id, rank, score, tag. Text after the tag is ignored.

    A rank that is not a whole number becomes None; trec_eval ignores all ranks. A score must be a
    number; trec_eval would read anything else as 0.
    """
    fields = _fields(line)
    if "\r" in line.rstrip("\r\n"):
        raise ValueError("one line holds several")
    if len(fields) < RUN_FIELDS:
        raise ValueError(f"{len(fields)} fields, but a TREC run has six (query_id Q0 doc_id rank score tag)")
    query_id, _, doc_id, rank, score, tag = fields[:RUN_FIELDS]
    return RunLine(query_id, doc_id, _integer(rank), _number(score, "score"), tag)


def parse_strict_run_line(line: str) -> RunLine:
    """The same, but a line of more than six fields is wrong. A blank in an id would make the rank the score."""
    fields = len(_fields(line))
    if fields > RUN_FIELDS:
        raise ValueError(
            f"{fields} fields, but a TREC run has six (query_id Q0 doc_id rank score tag). No id may have a blank."
        )
    return parse_run_line(line)


def parse_scored_line(line: str) -> RunLine:
    """A line of three columns split by tabs: query_id, doc_id, score."""
    query_id, doc_id, score = _tsv(line, "query_id doc_id score")
    return RunLine(query_id, doc_id, None, _number(score, "score"))


def parse_ranked_line(line: str) -> RunLine:
    """A line of three columns split by tabs, MS MARCO's form: query_id, doc_id, rank."""
    query_id, doc_id, text = _tsv(line, "query_id doc_id rank")
    rank = _integer(text)
    if rank is None:
        raise ValueError(f"the rank {text!r} is not a whole number")
    return RunLine(query_id, doc_id, rank, None)


def parse_qrel_line(line: str) -> Qrel:
    """A line of TREC qrels: query_id, iteration, doc_id, relevance. As in trec_eval, no other field may follow."""
    fields = _fields(line)
    if len(fields) != QREL_FIELDS:
        raise ValueError(f"{len(fields)} fields, but TREC qrels have four (query_id 0 doc_id relevance)")
    query_id, iteration, doc_id, relevance = fields
    return Qrel(query_id, doc_id, _grade(relevance), iteration)


def parse_beir_qrel_line(line: str) -> Qrel:
    """A line of BEIR qrels split by tabs: query-id, corpus-id, score. Do not pass the header."""
    query_id, doc_id, relevance = _tsv(line, "query-id corpus-id score")
    return Qrel(query_id, doc_id, _grade(relevance))


def is_beir_header(line: str) -> bool:
    """Whether a line is the header of BEIR qrels."""
    return tuple(line.rstrip("\r\n").split("\t")) == BEIR_QRELS_HEADER


def split_tsv(line: str) -> list[str]:
    """The fields of a line split by tabs. Quotes have no special meaning."""
    return line.rstrip("\r\n").split("\t")


def _tsv(line: str, names: str) -> list[str]:
    fields = split_tsv(line)
    if len(fields) != SCORED_FIELDS:
        raise ValueError(f"{len(fields)} fields split by tabs, but there must be three ({names})")
    fields = [field.strip(" ") for field in fields]
    if not all(fields[:2]):
        raise ValueError(f"an identifier is empty ({names})")
    return fields


def _number(text: str, name: str) -> float:
    # float() would also accept 1_000 and the digits of other scripts.
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise ValueError(f"the {name} {text!r} is not a number")
    return value


def _integer(text: str) -> int | None:
    digits = text[1:] if text[:1] in ("-", "+") else text
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= LONGEST_INTEGER else None


def _grade(text: str) -> int:
    value = _integer(_zero_decimals.sub("", text))
    if value is None:
        raise ValueError(f"the relevance {text!r} is not a whole number")
    return value

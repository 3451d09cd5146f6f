"""What was counted over judged rows; adds up over units."""

import json
from typing import NamedTuple

import pyarrow.parquet as pq

from rank1_batch.judging.records import Finish, Judgment
from rank1_batch.judging.scoring import is_saturated, is_stray
from rank1_batch.output.layout import COUNTS_KEY


class Counts(NamedTuple):
    """The counts of judged rows. They add up over units. Tokens are those of all requests.

    A count that an earlier version did not have is 0 in its units.
    """

    rows: int = 0
    errors: int = 0
    complete: int = 0
    closed: int = 0
    truncated: int = 0
    true_labels: int = 0
    prompt_tokens: int = 0
    trace_tokens: int = 0
    saturated: int = 0
    stray: int = 0


def add_counts(a: Counts, b: Counts) -> Counts:
    """The sum of both counts."""
    return Counts(*(x + y for x, y in zip(a, b, strict=True)))


def read_counts(footer: pq.FileMetaData) -> Counts:
    """The counts in the footer of a unit's file."""
    return parse_counts(footer.metadata[COUNTS_KEY])


def parse_counts(text: str | bytes) -> Counts:
    """The counts of a unit from their JSON."""
    return Counts(**json.loads(text))


def count_judgments(judgments: list[Judgment]) -> Counts:
    """The counts of a unit."""
    return Counts(
        rows=len(judgments),
        errors=sum(judgment.finish is Finish.ERROR for judgment in judgments),
        complete=sum(judgment.finish is Finish.COMPLETE for judgment in judgments),
        closed=sum(judgment.finish is Finish.CLOSED for judgment in judgments),
        truncated=sum(judgment.passage_truncated for judgment in judgments),
        true_labels=sum(bool(judgment.label) for judgment in judgments),
        prompt_tokens=sum(judgment.prompt_tokens for judgment in judgments),
        trace_tokens=sum(judgment.trace_tokens for judgment in judgments),
        saturated=sum(judgment.score is not None and is_saturated(judgment.score) for judgment in judgments),
        stray=sum(
            judgment.answer_logprobs is not None and is_stray(judgment.answer_logprobs) for judgment in judgments
        ),
    )

"""Continues reasoning that was closed at its budget, and replaces old judgments with new ones."""

from collections.abc import Sequence

from rank1_batch.judging.records import BadRow, Begun, Finish, Judgment, Pair


def begin_again(rows: Sequence[Pair | BadRow], before: Sequence[Judgment]) -> list[Pair | BadRow]:
    """The rows. If a row's reasoning was closed at its budget, the row gets that reasoning to continue."""
    return [_begin(row, judgment) for row, judgment in zip(rows, before, strict=True)]


def put_back(before: Sequence[Judgment], places: Sequence[int], again: Sequence[Judgment]) -> list[Judgment]:
    """All judgments of a unit, with new ones at these places. An error never replaces a good judgment."""
    merged = list(before)
    for place, judgment in zip(places, again, strict=True):
        if judgment.finish is not Finish.ERROR or before[place].finish is Finish.ERROR:
            merged[place] = judgment
    return merged


def _begin(row: Pair | BadRow, judgment: Judgment) -> Pair | BadRow:
    if isinstance(row, BadRow) or judgment.finish is not Finish.CLOSED or not judgment.trace:
        return row
    return row._replace(begun=Begun(judgment.trace, judgment.prompt_tokens, judgment.trace_tokens))

from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.judging.again import begin_again, put_back
from rank1_batch.judging.records import BadRow, Begun, Finish, Judgment, Pair, failed_judgment


def judgment(finish: Finish, trace: str | None = "so far", score: float = 0.5) -> Judgment:
    return Judgment(score, -1.0, -1.0, False, finish, trace, 10, 2, passage_truncated=False, error=None)


def test_closed_reasoning_is_gone_on_with_and_all_other_begins_anew() -> None:
    pair = Pair("q", "p")
    before = [judgment(Finish.CLOSED), judgment(Finish.COMPLETE), judgment(Finish.NO_THINK, None), failed_judgment("x")]
    rows = begin_again([pair] * 4, before)
    assert rows == [pair._replace(begun=Begun("so far", 10, 2)), pair, pair, pair]


def test_a_bad_row_stays_one() -> None:
    row = BadRow("the doc_id is null")
    assert begin_again([row], [failed_judgment(row.reason)]) == [row]


@given(st.lists(st.booleans(), min_size=1), st.data())
def test_only_the_chosen_places_change(chosen: list[bool], data: st.DataObject) -> None:
    before = [judgment(Finish.CLOSED, f"old {i}") for i in range(len(chosen))]
    places = [i for i, taken in enumerate(chosen) if taken]
    merged = put_back(before, places, [judgment(Finish.COMPLETE, f"new {i}") for i in places])
    assert [row.trace for row in merged] == [f"{'new' if taken else 'old'} {i}" for i, taken in enumerate(chosen)]


def test_a_judgment_does_not_give_way_to_an_error_but_an_error_does() -> None:
    before = [judgment(Finish.CLOSED), failed_judgment("first")]
    merged = put_back(before, [0, 1], [failed_judgment("again")] * 2)
    assert merged == [before[0], failed_judgment("again")]

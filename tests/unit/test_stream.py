from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.manifest import Counts
from rank1_batch.stages.judge import Receipt
from rank1_batch.stages.stream import until_idle


def receipt(replica: str, idle_after: int | None = None) -> Receipt:
    return Receipt("unit", Counts(), True, "node", replica, 0.0, idle_after=idle_after)


@given(st.data())
def test_no_receipt_is_missed_when_replicas_are_told_idle_before_their_last_units_arrive(data: st.DataObject) -> None:
    judged = data.draw(st.dictionaries(st.sampled_from("abc"), st.integers(1, 4), min_size=1))
    receipts = [receipt(replica) for replica, count in judged.items() for _ in range(count)]
    idle = [receipt(replica, count) for replica, count in judged.items() for _ in range(2)]
    first = [receipt(replica) for replica in judged]  # all replicas have been heard of
    for replica in judged:
        receipts.remove(receipt(replica))
    arriving = data.draw(st.permutations(receipts + idle))
    found = list(until_idle(iter([*first, *arriving])))
    assert sorted(found) == sorted(first + receipts)


def test_what_comes_after_the_last_unit_of_the_last_replica_is_not_waited_for() -> None:
    stream = iter([receipt("a"), receipt("b", 1), receipt("a", 1), receipt("b"), receipt("a", 1)])
    assert len(list(until_idle(stream))) == 2
    assert len(list(stream)) == 1


def test_a_replica_that_judged_nothing_is_idle_at_once() -> None:
    assert list(until_idle(iter([receipt("a", 0), receipt("a")]))) == []


def test_the_units_of_a_replica_that_died_are_waited_for_until_all_were_passed_over() -> None:
    stream = [receipt("dead"), receipt("new", 0), receipt("new", 0), receipt("new", 0)]
    assert list(until_idle(iter(stream))) == [receipt("dead")]

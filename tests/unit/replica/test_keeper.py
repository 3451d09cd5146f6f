from pathlib import Path

import pytest

from rank1_batch.judging.records import BadRow, Judgment, Pair, failed_judgment
from rank1_batch.output.notes.kept import count_kept, keep_rows, read_kept
from rank1_batch.replica.keeper import Keeper
from rank1_batch.storage.store import Store, open_store
from tests.support.seaweed import wait_for

PAIRS = [Pair("q", letter) for letter in "abcdef"]


def judged(pair: Pair) -> Judgment:
    return failed_judgment(f"a judgment of {pair.passage}")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def test_rows_are_kept_when_so_many_are_finished(store: Store) -> None:
    keeper = Keeper(store, 0, most_unkept=3, every_s=0.01)
    assert keeper.begin("u1", PAIRS) == {}
    for pair in PAIRS[1:3]:
        keeper.add(pair, judged(pair))
    assert count_kept(store) == 0
    keeper.add(PAIRS[5], judged(PAIRS[5]))
    wait_for(lambda: count_kept(store) == 3, "nothing was kept")
    assert read_kept(store, "u1", 0) == {place: judged(PAIRS[place]) for place in (1, 2, 5)}


def test_a_unit_takes_up_what_was_kept_of_it_and_adds_to_it(store: Store) -> None:
    keep_rows(store, "u1", 0, {0: judged(PAIRS[0])})
    keeper = Keeper(store, 0, most_unkept=100)
    assert keeper.begin("u1", PAIRS) == {0: judged(PAIRS[0])}
    keeper.add(PAIRS[3], judged(PAIRS[3]))
    keeper.keep_all()
    assert sorted(read_kept(store, "u1", 0)) == [0, 3]


def test_a_pair_in_several_units_is_kept_for_each(store: Store) -> None:
    keeper = Keeper(store, 0, most_unkept=100)
    keeper.begin("u1", [PAIRS[0], BadRow("no text"), PAIRS[1]])
    keeper.begin("u2", [PAIRS[1], PAIRS[1]])
    keeper.add(PAIRS[1], judged(PAIRS[1]))
    keeper.keep_all()
    assert (sorted(read_kept(store, "u1", 0)), sorted(read_kept(store, "u2", 0))) == ([2], [0, 1])


def test_the_rows_of_a_committed_unit_are_removed_and_those_of_others_stay(store: Store) -> None:
    keeper = Keeper(store, 0, most_unkept=100)
    for unit, pair in (("u1", PAIRS[0]), ("u2", PAIRS[1])):
        keeper.begin(unit, [pair, PAIRS[2]])
        keeper.add(pair, judged(pair))
    keeper.keep_all()
    keeper.end("u1", committed=True)
    keeper.end("u2", committed=False)
    keeper.add(PAIRS[2], judged(PAIRS[2]))
    keeper.keep_all()
    assert read_kept(store, "u1", 0) == {}
    assert sorted(read_kept(store, "u2", 0)) == [0]


def test_in_a_hurry_every_row_is_kept_at_once(store: Store) -> None:
    keeper = Keeper(store, 0, most_unkept=100, every_s=1000)
    keeper.begin("u1", PAIRS)
    keeper.add(PAIRS[0], judged(PAIRS[0]))
    keeper.hurry()
    wait_for(lambda: count_kept(store) == 1, "nothing was kept")
    keeper.add(PAIRS[1], judged(PAIRS[1]))
    wait_for(lambda: count_kept(store) == 2, "the second row was not kept")

from typing import Any

import pytest

from rank1_batch.judging.readers import MOST_ANSWERS, RANK1, Answer, Reader, check_reader

GRADES = Reader(tuple(Answer(str(grade), grade) for grade in (3, 2, 1, 0)), relevant_from=2)


def test_the_readers_that_are_shipped_have_no_problems() -> None:
    assert check_reader(RANK1) == check_reader(GRADES) == []
    assert GRADES.grades
    assert not RANK1.grades


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"answers": RANK1.answers[:1]}, "reader.answers has 1 answers, but must have 2 to 128"),
        ({"answers": tuple(Answer(str(n), n) for n in range(MOST_ANSWERS + 1))}, "reader.answers has 129 answers"),
        ({"answers": (Answer("a", 1), Answer("b", 1))}, "reader.answers has two answers of the same value"),
        ({"relevant_from": 0}, "reader.relevant_from is 0, but must be more than the least value (0)"),
        ({"relevant_from": 4}, "and at most the highest (3)"),
    ],
)
def test_a_reader_that_cannot_tell_answers_apart_is_refused(change: dict[str, Any], problem: str) -> None:
    assert problem in check_reader(GRADES._replace(**change))[0]

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.pairs.units import (
    LARGEST_UNIT_ROWS,
    SEQUENCE_ROWS,
    TAIL_UNITS,
    UnitSizes,
    choose_sizes,
    cut_lists,
    cut_runs,
    name_unit,
)

LEAST = 32

query_sizes = st.lists(st.integers(1, 300), max_size=60)
unit_rows = st.integers(1, 600)
later_pairs = st.integers(0, 100_000)
replicas = st.integers(1, 100)


def query_ends(sizes: list[int]) -> list[int]:
    return list(itertools.accumulate(sizes))


def cut(sizes: list[int], unit_rows: int, later: int = 0, least_rows: int = LEAST) -> list[tuple[int, int]]:
    """The runs, or more than there can be where the cutting goes on for ever."""
    runs = cut_runs(query_ends(sizes), UnitSizes(unit_rows, least_rows), sum(sizes) + later)
    return list(itertools.islice(runs, sum(sizes) + 1))


@given(query_sizes, unit_rows, later_pairs)
def test_runs_hold_every_row_once_in_order(sizes: list[int], unit_rows: int, later: int) -> None:
    rows = [row for start, stop in cut(sizes, unit_rows, later) for row in range(start, stop)]
    assert rows == list(range(sum(sizes)))


@given(query_sizes, unit_rows, later_pairs)
def test_no_run_is_empty_or_longer_than_asked(sizes: list[int], unit_rows: int, later: int) -> None:
    assert all(1 <= stop - start <= unit_rows for start, stop in cut(sizes, unit_rows, later))


def test_units_of_one_row_come_to_an_end() -> None:
    assert cut([3, 1], 1) == [(0, 1), (1, 2), (2, 3), (3, 4)]


@given(st.lists(st.integers(1, LEAST // 2), max_size=100), st.integers(32, 600), later_pairs)
def test_small_queries_are_never_cut(sizes: list[int], unit_rows: int, later: int) -> None:
    assert {stop for _, stop in cut(sizes, unit_rows, later)} <= set(query_ends(sizes))


@given(query_sizes, st.integers(2, 600), later_pairs)
def test_a_cut_inside_a_query_leaves_no_run_shorter_than_half(sizes: list[int], unit_rows: int, later: int) -> None:
    total = sum(sizes) + later
    runs = cut(sizes, unit_rows, later)
    assert all(stop - start >= UnitSizes(unit_rows, LEAST).cut(total - start) // 2 for start, stop in runs[:-1])


def test_a_query_that_is_larger_than_a_unit_is_cut_inside() -> None:
    assert cut([250], 100, later=10**6) == [(0, 100), (100, 200), (200, 250)]


def test_queries_of_a_hundred_candidates_go_two_to_a_unit_of_256() -> None:
    assert cut([100] * 5, 256, later=10**6) == [(0, 200), (200, 400), (400, 500)]


def test_a_file_without_rows_has_no_runs() -> None:
    assert cut([], 256) == []


@given(st.lists(st.integers(0, 300), max_size=60), unit_rows, later_pairs)
def test_lists_are_kept_whole_and_each_is_in_one_run(sizes: list[int], unit_rows: int, later: int) -> None:
    runs = list(cut_lists(sizes, UnitSizes(unit_rows), sum(sizes) + later))
    assert [row for start, stop, _ in runs for row in range(start, stop)] == list(range(len(sizes)))
    assert all(stop > start for start, stop, _ in runs)
    assert [sum(sizes[start:stop]) for start, stop, _ in runs] == [pairs for _, _, pairs in runs]


@given(st.lists(st.integers(0, 300), max_size=60), unit_rows, later_pairs)
def test_a_run_of_lists_is_longer_than_asked_only_where_one_list_is(
    sizes: list[int], unit_rows: int, later: int
) -> None:
    for start, stop, pairs in cut_lists(sizes, UnitSizes(unit_rows), sum(sizes) + later):
        assert pairs <= unit_rows or sum(size > 0 for size in sizes[start:stop]) == 1


@given(st.integers(1, 2048), replicas)
def test_a_unit_is_1024_rows_at_most_and_never_longer_than_four_rows_one_after_the_other(
    max_num_seqs: int, replicas: int
) -> None:
    rows = choose_sizes(max_num_seqs, replicas).cut(10**9)
    assert LARGEST_UNIT_ROWS == 1024
    assert rows == min(1024, SEQUENCE_ROWS * max_num_seqs)


@given(unit_rows, st.integers(0, 10**7), replicas)
def test_units_get_smaller_toward_the_end_but_not_too_small(unit_rows: int, remaining: int, replicas: int) -> None:
    sizes = UnitSizes(unit_rows, LEAST, replicas)
    rows = sizes.cut(remaining)
    assert min(unit_rows, LEAST) <= rows <= unit_rows
    assert rows <= max(LEAST, remaining / replicas / TAIL_UNITS)
    assert rows <= sizes.cut(remaining + 1)


def test_the_last_units_are_for_all_replicas() -> None:
    """A constant share of the job, 1/64, gave each of 64 replicas one last unit of the largest size."""
    one, many = choose_sizes(16, 1), choose_sizes(16, 64)
    assert (one.cut(64 * 64), many.cut(64 * 64)) == (64, 21)


def test_the_last_units_of_a_file_depend_on_what_comes_after_it() -> None:
    last_of_all, followed = cut([10] * 100, 256), cut([10] * 100, 256, later=10**6)
    assert [stop - start for start, stop in last_of_all][-3:] == [30, 30, 20]
    assert followed[0] == (0, 250)


@given(st.tuples(st.text(max_size=5), st.text(max_size=5), st.integers(0, 99), st.integers(0, 99)))
def test_a_unit_id_is_sixteen_hex_digits_and_the_same_every_time(key: tuple[str, str, int, int]) -> None:
    assert re.fullmatch(r"[0-9a-f]{16}", name_unit(*key))
    assert name_unit(*key) == name_unit(*key)


def test_a_unit_id_changes_with_path_identity_and_rows() -> None:
    base = ("part-0.parquet", "etag", 0, 256)
    others = [("part-1.parquet", *base[1:]), ("part-0.parquet", "etag2", 0, 256), (*base[:2], 1, 256), (*base[:3], 255)]
    assert len({name_unit(*key) for key in [base, *others]}) == 5


def test_a_unit_id_never_changes_between_versions() -> None:
    """BLAKE2b (RFC 7693), 8 bytes, of the four parts on a line each; taken from coreutils' b2sum -l 64."""
    assert name_unit("part-0.parquet", "etag", 0, 256) == "97bf378e5013f414"

import functools
import random
import re
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.jobs.rerank.gates import (
    FAIL,
    WARN,
    check_gates,
    find_shares,
    list_failures,
)
from rank1_batch.output.counts import Counts, add_counts
from rank1_batch.output.summary import GATE_ADVICE, Gate, describe_gate
from rank1_batch.settings import GateLimits, GatesConfig, load_config

NAMES = [field.name for field in fields(GateLimits)]
HEALTHY = Counts(rows=1000, complete=1000, true_labels=50)


@st.composite
def unit_counts(draw: st.DrawFn) -> Counts:
    """Counts as one unit can have them."""
    rows = draw(st.integers(0, 300))
    errors = draw(st.integers(0, rows))
    judged = rows - errors
    closed = draw(st.integers(0, judged))
    left = st.integers(0, judged)
    return Counts(rows, errors, judged - closed, closed, draw(left), draw(left), saturated=draw(left), stray=draw(left))


some_units = st.lists(unit_counts(), min_size=1, max_size=8)
some_limits = st.builds(GateLimits, **{name: st.none() | st.floats(0, 1) for name in NAMES})
some_gates = st.builds(GatesConfig, some_limits, some_limits)


def total(units: list[Counts]) -> Counts:
    return functools.reduce(add_counts, units, Counts())


def failures(counts: Counts, gates: GatesConfig | None = None) -> list[tuple[str, str]]:
    return [(gate.severity, gate.name) for gate in check_gates(counts, gates or GatesConfig()) if not gate.passed]


@given(some_units, some_gates, st.randoms(use_true_random=False))
def test_a_job_gets_the_same_gates_in_whatever_order_its_units_were_committed(
    units: list[Counts], gates: GatesConfig, chance: random.Random
) -> None:
    before = check_gates(total(units), gates)
    chance.shuffle(units)
    assert check_gates(total(units), gates) == before


@given(unit_counts(), some_gates)
def test_shares_are_shares_and_unset_limits_check_nothing(counts: Counts, gates: GatesConfig) -> None:
    found = check_gates(counts, gates)
    assert all(0 <= gate.value <= 1 for gate in found)
    assert all(getattr(getattr(gates, gate.severity), gate.name) == gate.limit for gate in found)
    assert check_gates(counts, GatesConfig(GateLimits(), GateLimits())) == []


@given(unit_counts(), st.sampled_from(NAMES), st.floats(0, 1), st.floats(0, 1))
def test_a_limit_that_allows_more_never_fails_what_a_tighter_one_passed(
    counts: Counts, name: str, one: float, other: float
) -> None:
    strict, lax = sorted((one, other), reverse=name == "true_least")
    tight = check_gates(counts, GatesConfig(GateLimits(**{name: strict}), GateLimits()))
    loose = check_gates(counts, GatesConfig(GateLimits(**{name: lax}), GateLimits()))
    if tight and loose:
        assert loose[0].passed or not tight[0].passed


@given(st.integers(1, 10**6), st.integers(0, 100))
def test_a_share_that_is_its_limit_passes(hundreds: int, percent: int) -> None:
    counts = Counts(rows=100 * hundreds, closed=percent * hundreds)
    assert failures(counts, GatesConfig(GateLimits(closed=percent / 100), GateLimits())) == []


def test_a_healthy_job_passes_all_default_gates() -> None:
    assert failures(HEALTHY) == []
    assert len(check_gates(HEALTHY, GatesConfig())) == len(NAMES) + len(["stray fails, too"])


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (HEALTHY._replace(errors=2), [(WARN, "errors")]),
        (HEALTHY._replace(closed=31, complete=969), [(WARN, "closed")]),
        (HEALTHY._replace(closed=30, complete=970), []),
        (HEALTHY._replace(truncated=31), [(WARN, "truncated")]),
        (HEALTHY._replace(saturated=501), [(WARN, "saturated")]),
        (HEALTHY._replace(stray=31), [(WARN, "stray")]),
        (HEALTHY._replace(stray=501), [(WARN, "stray"), (FAIL, "stray")]),
        (HEALTHY._replace(true_labels=0), [(WARN, "true_least")]),
        (HEALTHY._replace(true_labels=1000), [(WARN, "true_most")]),
    ],
)
def test_what_the_default_limits_tell(counts: Counts, expected: list[tuple[str, str]]) -> None:
    assert failures(counts) == expected


def test_labels_of_a_handful_of_rows_are_no_sign_of_anything() -> None:
    assert failures(Counts(rows=999)) == []
    assert failures(Counts(rows=19, true_labels=19)) == []
    assert failures(Counts(rows=20, true_labels=20)) == [(WARN, "true_most")]


def test_a_job_of_failed_rows_alone_has_no_shares_of_judged_rows() -> None:
    assert failures(Counts(rows=5, errors=5)) == [(WARN, "errors")]
    assert check_gates(Counts(), GatesConfig()) == []


def test_every_gate_has_a_share_and_advice() -> None:
    assert list(find_shares(HEALTHY)) == list(GATE_ADVICE) == NAMES


def test_a_gate_is_told_with_its_share_its_setting_and_what_to_do() -> None:
    text = describe_gate(Gate("closed", 0.3125, 0.03, passed=False, severity=WARN))
    assert re.fullmatch(r"31\.2 % of the rows were closed .* \(gates\.warn\.closed=0\.03\): raise policy\..*", text)


def test_failures_are_listed_by_severity() -> None:
    found = check_gates(HEALTHY._replace(stray=501, closed=500), GatesConfig())
    assert [gate.name for gate in list_failures(found, WARN)] == ["closed", "stray"]
    assert [gate.name for gate in list_failures(found, FAIL)] == ["stray"]


def test_limits_are_settings_of_the_command_line() -> None:
    paths = ("input.path=in", "output.path=out")
    gates = load_config([*paths, "gates.fail.closed=0.2", "gates.fail.stray=null", "gates.warn.true_most=1"]).gates
    assert (gates.fail.closed, gates.fail.stray, gates.warn.true_most) == (0.2, None, 1.0)
    assert gates.warn.closed == GatesConfig().warn.closed

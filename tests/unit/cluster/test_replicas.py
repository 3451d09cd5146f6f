import inspect
from pathlib import Path

import pytest
from ray._private import function_manager
from ray._private.label_utils import validate_fallback_strategy, validate_label_selector

from rank1_batch.cluster.nodes import NOT_IMPORTED
from rank1_batch.cluster.replicas import build_options, find_reason
from rank1_batch.cluster.starts import Choice
from rank1_batch.errors import (
    EngineDiedError,
    GoldenError,
    NodeError,
    Rank1BatchError,
    ReplicaError,
    SettingsError,
    StorageError,
)

A, B = "aa" * 28, "bb" * 28


def test_a_replica_may_go_anywhere_while_no_start_has_failed() -> None:
    assert build_options(Choice([], [])) == {}


@pytest.mark.parametrize(("withdrawn", "fallback"), [([], "!in(none)"), ([A], f"!in({A})"), ([A, B], f"!in({A},{B})")])
def test_a_replica_keeps_off_failed_nodes_while_there_is_room_elsewhere_and_off_withdrawn_ones_always(
    withdrawn: list[str], fallback: str
) -> None:
    options = build_options(Choice([A, B], withdrawn))
    assert options["label_selector"] == {"ray.io/node-id": f"!in({A},{B})"}
    assert options["fallback_strategy"] == [{"label_selector": {"ray.io/node-id": fallback}}]
    assert validate_label_selector(options["label_selector"]) is None
    assert validate_fallback_strategy(options["fallback_strategy"]) is None


@pytest.mark.parametrize(
    "error",
    [SettingsError(["x"]), NodeError(["x"]), GoldenError("x"), StorageError("x"), ReplicaError("x")],
)
def test_an_error_with_an_exit_code_for_the_job_stays_what_it_is(error: Rank1BatchError) -> None:
    assert find_reason(error) is error


@pytest.mark.parametrize(
    ("error", "told"), [(EngineDiedError("it died"), "it died"), (KeyError("no such key"), "KeyError: 'no such key'")]
)
def test_any_other_error_of_a_start_is_trouble_of_the_replica(error: Exception, told: str) -> None:
    reason = find_reason(error)
    assert type(reason) is ReplicaError
    assert str(reason) == told


def test_ray_still_says_so_where_a_node_cannot_import_a_function() -> None:
    """A message is no promise of Ray's: a version that changes it is found here."""
    text = Path(inspect.getfile(function_manager)).read_text().replace('"\n                        "', "")
    assert NOT_IMPORTED in text

"""What follows from a start: every rule of the record, on a clock of the test's own."""

import asyncio

import pytest

from rank1_batch.cluster.starts import (
    FIRST_WAIT_S,
    MOST_STARTS,
    PRESENT_S,
    WITHDRAWN_WAIT_S,
    Decision,
    Location,
    Placement,
    Starts,
)
from rank1_batch.errors import (
    AccessError,
    GoldenError,
    NodeError,
    Rank1BatchError,
    ReplicaError,
    SettingsError,
    StorageError,
)

A, B, C = (Location(name, f"10.0.0.{number}") for number, name in enumerate("abc", 1))
TROUBLE = ReplicaError("CUDA out of memory")
SETTINGS = SettingsError(["no such option"])
LEAVE = Decision()


class Cluster:
    """A record of starts, with nodes and a clock that a test changes."""

    def __init__(self, *places: Location) -> None:
        self.nodes = {place.node_id for place in places}
        self.now = 0.0
        self.starts = Starts(lambda: self.nodes, lambda: self.now)
        self._names = iter(range(100))

    def load(self, place: Location) -> str:
        """A replica that has begun to start."""
        name = f"replica {next(self._names)}"
        assert self.starts.begin(name, place).start
        self.now += 1
        return name

    def fail(self, place: Location, error: Rank1BatchError = TROUBLE) -> Decision:
        """What a new replica hears that cannot start."""
        return self.starts.fail(self.load(place), place, error)

    def work(self, place: Location) -> str:
        """A replica that has started."""
        name = self.load(place)
        self.starts.succeed(name, place)
        return name

    def news(self) -> list[str]:
        return asyncio.run(asyncio.wait_for(self.starts.news(), 5)) or []


@pytest.mark.parametrize("error", [TROUBLE, StorageError("the store does not answer")])
def test_a_lone_node_in_trouble_gets_some_starts_and_then_the_job_ends(error: Rank1BatchError) -> None:
    cluster = Cluster(A)
    assert [cluster.fail(A, error) for _ in range(MOST_STARTS)] == [LEAVE, LEAVE, Decision(error=error)]


@pytest.mark.parametrize(
    "error", [SETTINGS, NodeError(["other versions"]), AccessError(["denied"]), GoldenError("other scores")]
)
def test_what_no_second_start_can_change_ends_the_job_at_once_on_a_lone_node(error: Rank1BatchError) -> None:
    assert Cluster(A).fail(A, error) == Decision(error=error)


def test_settings_are_tried_on_one_more_node_where_there_is_one() -> None:
    cluster = Cluster(A, B, C)
    assert cluster.fail(A, SETTINGS) == LEAVE
    assert cluster.fail(B, SETTINGS) == Decision(error=SETTINGS)


def test_a_refusal_withdraws_its_node_and_every_node_is_tried_but_no_more_than_some() -> None:
    cluster = Cluster(A, B)
    error = NodeError(["other versions"])
    assert cluster.fail(A, error) == LEAVE
    assert cluster.starts.choose() == Placement(["a"], ["a"])
    assert cluster.fail(B, error) == Decision(error=error)
    many = Cluster(*(Location(f"node {number}", "") for number in range(20)))
    places = [Location(f"node {number}", "") for number in range(MOST_STARTS)]
    assert [many.fail(place, error) for place in places] == [LEAVE, LEAVE, Decision(error=error)]


@pytest.mark.parametrize("error", [TROUBLE, SETTINGS, NodeError(["other versions"])])
def test_no_failed_start_ends_a_job_while_a_replica_works(error: Rank1BatchError) -> None:
    cluster = Cluster(A, B)
    worker = cluster.work(B)
    for place in [A, Location("c", "10.0.0.3"), Location("d", "10.0.0.4")] * MOST_STARTS:
        cluster.starts.see(worker)
        if place.node_id not in cluster.starts.choose().withdrawn:
            assert cluster.fail(place, error) == LEAVE
    assert "a" in cluster.starts.choose().withdrawn


def test_failures_beside_a_replica_at_work_do_not_count_when_it_is_gone() -> None:
    cluster = Cluster(A, B)
    cluster.work(B)
    assert [cluster.fail(A) for _ in range(MOST_STARTS)] == [LEAVE] * MOST_STARTS
    cluster.now += PRESENT_S
    assert [cluster.fail(B) for _ in range(MOST_STARTS)] == [LEAVE, LEAVE, Decision(error=TROUBLE)]


def test_a_replica_that_loads_elsewhere_or_began_before_gets_its_chance() -> None:
    cluster = Cluster(A, B)
    slow = cluster.load(B)
    assert [cluster.fail(A) for _ in range(MOST_STARTS)] == [LEAVE] * MOST_STARTS
    assert cluster.starts.fail(slow, B, TROUBLE) == Decision(error=TROUBLE)

    one_node = Cluster(A)  # of two GPUs, one of which is broken
    slow = one_node.load(A)
    assert [one_node.fail(A) for _ in range(MOST_STARTS)] == [LEAVE] * MOST_STARTS
    one_node.starts.succeed(slow, A)
    assert one_node.starts.choose() == Placement(["a"], [])  # withdrawn, but there is no other


def test_a_replica_that_loads_and_is_gone_is_not_waited_for() -> None:
    cluster = Cluster(A, B)
    cluster.load(B)
    assert [cluster.fail(A), cluster.fail(A)] == [LEAVE, LEAVE]
    cluster.now += PRESENT_S
    assert cluster.fail(A) == Decision(error=TROUBLE)


def test_settings_that_have_worked_are_not_to_blame() -> None:
    cluster = Cluster(A)
    cluster.work(A)
    cluster.now += PRESENT_S
    end = cluster.fail(A, NodeError(["this node does not see the model"])).error
    assert type(end) is ReplicaError
    assert str(end) == "this node does not see the model"


def test_a_node_is_tried_again_after_a_wait_that_doubles_and_then_withdrawn() -> None:
    cluster = Cluster(A, B)
    cluster.work(B)
    orders = []
    for _ in range(MOST_STARTS):
        assert cluster.starts.choose().withdrawn == []
        orders.append(cluster.starts.begin("replica", A))
        assert cluster.starts.fail("replica", A, TROUBLE) == LEAVE
    assert orders == [Decision(start=True, wait_s=wait_s) for wait_s in (0.0, FIRST_WAIT_S, 2 * FIRST_WAIT_S)]
    assert cluster.starts.choose() == Placement(["a"], ["a"])
    assert cluster.starts.begin("late", A) == Decision(wait_s=WITHDRAWN_WAIT_S)


def test_a_start_that_succeeds_forgets_the_failures_of_its_node() -> None:
    cluster = Cluster(A)
    assert [cluster.fail(A), cluster.fail(A)] == [LEAVE, LEAVE]
    cluster.work(A)
    assert cluster.starts.choose() == Placement([], [])
    cluster.now += PRESENT_S
    assert [cluster.fail(A), cluster.fail(A)] == [LEAVE, LEAVE]


def test_a_replica_that_has_worked_is_started_again_by_ray_as_its_units_wait_for_it() -> None:
    cluster = Cluster(A, B)
    cluster.work(B)
    worker = cluster.work(A)
    assert cluster.starts.begin(worker, A) == Decision(start=True)
    assert cluster.starts.fail(worker, A, NodeError(["other versions"])) == Decision(restart=True)
    assert cluster.starts.begin(worker, A) == Decision(wait_s=WITHDRAWN_WAIT_S, restart=True)
    assert cluster.starts.begin(worker, B) == Decision(start=True)


def test_the_error_that_ends_a_job_is_there_for_whoever_starts_replicas() -> None:
    cluster = Cluster(A)
    cluster.fail(A, SETTINGS)
    assert cluster.starts.choose() == Placement(["a"], [], SETTINGS)


def test_a_node_that_cannot_load_the_package_is_withdrawn() -> None:
    cluster = Cluster(A, B)
    cluster.work(B)
    cluster.starts.refuse("replica", *A, "ModuleNotFoundError: No module named 'rank1_batch'")
    assert cluster.starts.choose() == Placement(["a"], ["a"])
    assert "rank1_batch cannot be loaded there (ModuleNotFoundError: " in cluster.news()[0]


def test_a_process_that_dies_without_a_word_while_it_loads_has_failed() -> None:
    cluster = Cluster(A)
    name = cluster.load(A)
    orders = [cluster.starts.begin(name, A) for _ in range(MOST_STARTS)]
    assert [decision.start for decision in orders] == [True, True, False]
    assert "died while it loaded the model" in str(orders[-1].error)
    assert "died while it loaded the model" in cluster.news()[0]


def test_a_job_with_withdrawn_nodes_only_ends_when_replicas_come_back_to_them() -> None:
    """The replica of the good node was lost, and Ray starts it elsewhere."""
    cluster = Cluster(A, B)
    worker = cluster.work(B)
    cluster.fail(A, NodeError(["other versions"]))
    cluster.nodes = {"a"}
    assert type(cluster.starts.begin(worker, A).error) is ReplicaError


def test_each_failed_start_makes_one_line_with_its_node_and_its_cause() -> None:
    cluster = Cluster(A, B)
    cluster.work(B)
    cluster.fail(A, ReplicaError("CUDA error:\n  an illegal memory access"))
    cluster.fail(A, NodeError(["other versions"]))
    assert cluster.news() == [
        "node 10.0.0.1 (a): a replica could not start, it will be tried again: CUDA error: an illegal memory access",
        "node 10.0.0.1 (a): a replica could not start, this node is withdrawn for the rest of the run: other versions",
    ]


def test_after_the_end_of_a_job_there_is_no_news() -> None:
    starts = Starts(lambda: {"a"})
    starts.stop()
    assert asyncio.run(asyncio.wait_for(starts.news(), 5)) is None

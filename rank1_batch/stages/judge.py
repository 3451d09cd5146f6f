"""Unit → committed file, in an actor that owns one replica; a receipt of a few numbers comes back."""

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from rank1_batch.config import RerankConfig
from rank1_batch.errors import BadFileError, EngineDiedError, SettingsError
from rank1_batch.judging import Finish, Judgment, failed_judgment
from rank1_batch.manifest import Counts, commit_unit, count_deaths, record_deaths
from rank1_batch.replica import Replica
from rank1_batch.schema import build_judgments, read_pairs
from rank1_batch.stages.rows import UnitRows
from rank1_batch.storage import open_store
from rank1_batch.units import Unit
from rank1_batch.versions import compare_versions, find_versions

logger = logging.getLogger(__name__)

MOST_DEATHS = 3
"""Engines that may die over one unit before it is set aside."""


class JudgeSpec(NamedTuple):
    """All that an actor needs to know."""

    config: RerankConfig
    input_url: str
    output_url: str
    versions: dict[str, str]


class Receipt(NamedTuple):
    """What became of a unit. `failure` says why nothing was committed (a bad input file)."""

    unit_id: str
    counts: Counts
    won: bool
    node: str
    seconds: float
    sent_tokens: int = 0
    cached_tokens: int = 0
    failure: str | None = None


class JudgeUnits:
    """Judges units, several at once; Ray Data calls it from one thread for each unit in flight."""

    def __init__(self, spec: JudgeSpec, node: str) -> None:
        self._check_versions(spec.versions)
        self._spec, self._node = spec, node
        self._output = open_store(spec.output_url)
        self._deaths = count_deaths(self._output)
        self._turns = _Turns()
        self._readers = UnitRows(open_store(spec.input_url), spec.config.input.columns, spec.config.input.keep)
        self._in_flight: dict[str, Unit] = {}
        self._replica = Replica(spec.config)
        self._lock = threading.Lock()
        self._told = self._replica.usage()

    def __call__(self, unit: Unit) -> Receipt:
        """Judge and commit one unit.

        A unit over which an engine died before is judged alone, so that another death is its own.
        When the engine dies, so does this process: Ray starts another one and calls it again.
        """
        suspect = unit.unit_id in self._deaths
        with self._turns.alone() if suspect else self._turns.together():
            self._in_flight[unit.unit_id] = unit
            try:
                return self._judge(unit)
            except EngineDiedError as error:
                self._die(error)
                raise
            finally:
                del self._in_flight[unit.unit_id]

    def _judge(self, unit: Unit) -> Receipt:
        start = time.monotonic()
        try:
            table = self._readers.read(unit)
        except BadFileError as error:
            if self._spec.config.input.on_bad_file == "fail":
                raise
            return Receipt(unit.unit_id, Counts(), False, self._node, 0.0, failure=str(error))
        if self._deaths.get(unit.unit_id, 0) >= MOST_DEATHS:
            reason = f"set aside: {MOST_DEATHS} engines died while they judged this row's unit"
            judgments = [failed_judgment(reason)] * len(table)
        else:
            judgments = self._replica.judge(read_pairs(table))
        counts = count_judgments(judgments)
        keep = self._spec.config.input.keep
        won = commit_unit(self._output, unit, build_judgments(table, judgments, unit.unit_id, keep), counts)
        seconds = time.monotonic() - start
        logger.info("judged unit=%s rows=%d seconds=%.1f", unit.unit_id, len(table), seconds)
        return Receipt(unit.unit_id, counts, won, self._node, seconds, *self._new_usage())

    def _new_usage(self) -> tuple[int, int]:
        """Tokens sent and found in the cache since this was last asked."""
        with self._lock:
            told, self._told = self._told, self._replica.usage()
            return self._told.prompt_tokens - told.prompt_tokens, self._told.cached_tokens - told.cached_tokens

    def _die(self, error: EngineDiedError) -> None:
        """Note which units were in flight, and end the process: `exit_actor()` would not be retried."""
        with self._lock:
            logger.error("engine died, units in flight: %s (%s)", ", ".join(self._in_flight), error)
            record_deaths(self._output, list(self._in_flight), uuid.uuid4().hex)
            logging.shutdown()
            os._exit(1)

    def _check_versions(self, expected: dict[str, str]) -> None:
        differing = compare_versions(expected, find_versions())
        if differing:
            raise SettingsError([f"a worker has other versions than the driver: {', '.join(differing)}"])


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
    )


class _Turns:
    """Lets many work together, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._working = 0
        self._alone = False

    def together(self) -> AbstractContextManager[None]:
        return self._turn(lambda: not self._alone, alone=False)

    def alone(self) -> AbstractContextManager[None]:
        return self._turn(lambda: not self._alone and not self._working, alone=True)

    @contextmanager
    def _turn(self, free: Callable[[], bool], *, alone: bool) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(free)
            self._alone = alone
            self._working += 1
        try:
            yield
        finally:
            with self._changed:
                self._alone = False if alone else self._alone
                self._working -= 1
                self._changed.notify_all()

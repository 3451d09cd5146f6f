"""Judges a unit and commits its file, in an actor that owns one replica. Returns a small receipt."""

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from rank1_batch.errors import BadFileError, EngineDiedError, Rank1BatchError, SettingsError
from rank1_batch.judging.again import begin_again, put_back
from rank1_batch.judging.records import BadRow, Judgment, Pair, failed_judgment
from rank1_batch.output.commits import commit_unit, find_committed
from rank1_batch.output.counts import Counts, count_judgments
from rank1_batch.output.deaths import count_deaths, record_deaths
from rank1_batch.output.fingerprint import name_prompt, name_reader
from rank1_batch.output.generations import Redo, select_rows
from rank1_batch.output.judgments import build_judgments, parse_judgments, read_judgments
from rank1_batch.output.layout import PROMPT_KEY, READER_KEY, VERSIONS_KEY
from rank1_batch.output.lease import may_go_on
from rank1_batch.pairs.layout import read_pairs
from rank1_batch.pairs.reader import UnitReader
from rank1_batch.pairs.units import Unit
from rank1_batch.replica.feeder import count_slots
from rank1_batch.replica.golden import GoldenSet, check_scores, given_traces
from rank1_batch.replica.keeper import Keeper
from rank1_batch.replica.loop import Replica
from rank1_batch.replica.places import SAME_PLACES, find_other_weights, find_unseen
from rank1_batch.settings import GoldenConfig, RerankConfig
from rank1_batch.storage.retries import count_retries
from rank1_batch.storage.store import open_store
from rank1_batch.versions import compare_versions, find_versions, scoring_versions

logger = logging.getLogger(__name__)

MOST_DEATHS = 3
"""Engines that may die over one unit before it is set aside."""

LEASE_CHECK_S = 3.0


class JudgeSpec(NamedTuple):
    """Everything that an actor needs. `first_file` is a file of the input: an actor checks that it sees it.

    `weights` is the digest of a local checkpoint: an actor checks that its node has the same.
    """

    config: RerankConfig
    input_url: str
    output_url: str
    run_id: str
    versions: dict[str, str]
    golden: GoldenSet | None = None
    redo: Redo | None = None
    first_file: str = ""
    weights: str | None = None


class Receipt(NamedTuple):
    """The result of a unit. `failure` says why nothing was committed (a bad input file).

    `won` is whether this replica committed it: its judgments may have been there before, by another run
    or by a replica that died before it could say so. `began` is when the unit was begun, by `time.monotonic()` of
    the process that holds the receipt. `replica` is the process that judged it: its number, and its host.

    A unit is passed over when its run was asked to stop before it began.
    """

    unit_id: str
    counts: Counts
    won: bool
    node: str
    replica: str
    began: float
    sent_tokens: int = 0
    cached_tokens: int = 0
    storage_retries: int = 0
    failure: str | None = None
    passed_over: bool = False


class JudgeUnits:
    """Judges units, several at once; Ray Data calls it from one thread for each unit in flight."""

    def __init__(self, spec: JudgeSpec, node: str) -> None:
        self._check_versions(spec.versions)
        self._check_places(spec)
        self._spec, self._node = spec, node
        self._name = f"{os.getpid()}@{socket.gethostname()}"
        self._output = open_store(spec.output_url)
        self._metadata = {
            PROMPT_KEY: json.dumps(name_prompt(spec.config.prompt)),
            READER_KEY: json.dumps(name_reader(spec.config.reader)),
            VERSIONS_KEY: json.dumps(scoring_versions()),
        }
        self._deaths = count_deaths(self._output)
        self._turns = _Turns()
        self._rows = UnitReader(open_store(spec.input_url), spec.config.input.columns, spec.config.input.keep)
        self._begun: dict[str, float] = {}
        generation = spec.redo.generation if spec.redo else 0
        self._keeper = Keeper(self._output, generation, count_slots(spec.config.engine.max_num_seqs))
        self._replica = Replica(spec.config, self._keeper.add)
        self._check_golden(spec.config.golden)
        self._lock = threading.Lock()
        self._told, self._told_retries = self._replica.usage(), 0
        self._go_on = may_go_on(self._output, spec.run_id)
        threading.Thread(target=self._watch_lease, name="lease", daemon=True).start()

    def __call__(self, unit: Unit) -> Receipt:
        """Judge and commit one unit.

        A unit over which an engine died before is judged alone, so that a second death can be blamed on it. This
        process exits when its engine dies. Ray starts another one and calls it again.
        """
        if self._go_on:
            with contextlib.suppress(_StoppedError):
                return self._judge_in_turn(unit)
        return Receipt(unit.unit_id, Counts(), False, self._node, self._name, time.monotonic(), passed_over=True)

    def _judge_in_turn(self, unit: Unit) -> Receipt:
        suspect = unit.unit_id in self._deaths
        with self._turns.alone() if suspect else self._turns.together():
            try:
                receipt = self._judge(unit)
            except EngineDiedError as error:
                self._die(error)
                raise
            finally:
                self._begun.pop(unit.unit_id, None)
                self._keeper.end(unit.unit_id, committed=False)
            return receipt

    def _watch_lease(self) -> None:
        """Check every few seconds whether the run still holds its lease. End when it does not."""
        while self._go_on:
            time.sleep(LEASE_CHECK_S)  # a poll: the driver may be on another node, and a store sends no notice
            with contextlib.suppress(Rank1BatchError):  # units meet the trouble of a store themselves
                self._go_on = may_go_on(self._output, self._spec.run_id)
        self._keeper.hurry()

    def _judge(self, unit: Unit) -> Receipt:
        start = time.monotonic()
        generation = self._spec.redo.generation if self._spec.redo else 0
        if (found := find_committed(self._output, unit, generation)) is not None:
            return Receipt(unit.unit_id, found, False, self._node, self._name, start)
        try:
            table, keep = self._rows.read(unit)
        except BadFileError as error:
            if self._spec.config.input.on_bad_file == "fail":
                raise
            return Receipt(unit.unit_id, Counts(), False, self._node, self._name, start, failure=str(error))
        judgments = (
            self._judge_again(unit, table, self._spec.redo)
            if self._spec.redo
            else self._judge_rows(unit, read_pairs(table))
        )
        counts = count_judgments(judgments)
        built = build_judgments(table, judgments, unit.unit_id, keep).replace_schema_metadata(self._metadata)
        won = commit_unit(self._output, unit, built, counts, generation)
        self._keeper.end(unit.unit_id, committed=True)
        began = self._begun.get(unit.unit_id, start)
        logger.info("judged unit=%s rows=%d seconds=%.1f", unit.unit_id, len(table), time.monotonic() - began)
        return Receipt(unit.unit_id, counts, won, self._node, self._name, began, *self._new_usage())

    def _judge_rows(self, unit: Unit, rows: Sequence[Pair | BadRow]) -> list[Judgment]:
        judged = dict(self._keeper.begin(unit.unit_id, rows))
        left = [place for place in range(len(rows)) if place not in judged]
        if self._deaths.get(unit.unit_id, 0) < MOST_DEATHS:
            answers = self._replica.judge([rows[place] for place in left], lambda: self._begin(unit))
            judged |= zip(left, answers, strict=True)
        reason = f"set aside: {MOST_DEATHS} engines died while they judged this row's unit"
        return [judged.get(place, failed_judgment(reason)) for place in range(len(rows))]

    def _begin(self, unit: Unit) -> None:
        """Mark the unit as started. Raises _StoppedError if the run was asked to stop."""
        if not self._go_on:
            raise _StoppedError
        self._begun[unit.unit_id] = time.monotonic()
        logger.info("judging unit=%s rows=%d", unit.unit_id, unit.pairs)

    def _judge_again(self, unit: Unit, table: pa.Table, redo: Redo) -> list[Judgment]:
        """The judgments of a committed unit. Those that the redo selects are new."""
        committed = read_judgments(self._output, unit)
        before = parse_judgments(committed)
        selected = select_rows(committed, redo.where)
        rows = begin_again(read_pairs(table), before)
        return put_back(before, selected, self._judge_rows(unit, [rows[place] for place in selected]))

    def _new_usage(self) -> tuple[int, int, int]:
        """Tokens sent, tokens found in the cache, and repeated requests since the last call."""
        with self._lock:
            told, self._told = self._told, self._replica.usage()
            retries, self._told_retries = count_retries() - self._told_retries, count_retries()
            sent, cached = self._told.prompt_tokens - told.prompt_tokens, self._told.cached_tokens - told.cached_tokens
            return sent, cached, retries

    def _die(self, error: EngineDiedError) -> None:
        """Record which units were started, and exit. Not by `exit_actor()`, after which Ray does not retry."""
        with self._lock:
            begun = list(self._begun)
            logger.error("engine died, units begun: %s (%s)", ", ".join(begun), error)
            record_deaths(self._output, begun, uuid.uuid4().hex)
            self._keeper.keep_all()
            logging.shutdown()
            os._exit(1)

    def _check_golden(self, settings: GoldenConfig) -> None:
        """Raises GoldenError if this replica's scores differ from the golden set."""
        golden = self._spec.golden
        if golden is not None:
            judgments = self._replica.judge_given(given_traces(golden))
            check_scores(golden, judgments, settings, self._node)

    def _check_places(self, spec: JudgeSpec) -> None:
        """Raises SettingsError where rows would be judged into a folder that nobody looks into, or by another model."""
        if problem := find_other_weights(spec.config.model, spec.weights):
            raise SettingsError([f"{socket.gethostname()}: {problem}"])
        if unseen := find_unseen(spec.input_url, spec.first_file, spec.output_url):
            host = socket.gethostname()
            raise SettingsError([*(f"{host}: {problem}" for problem in unseen), SAME_PLACES])

    def _check_versions(self, expected: dict[str, str]) -> None:
        differing = compare_versions(expected, find_versions())
        if differing:
            raise SettingsError([f"a worker has other versions than the driver: {', '.join(differing)}"])


class _StoppedError(Exception):
    """A unit was not started, because the run was asked to stop while it waited."""


class _Turns:
    """Lets many threads work at once, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._working = 0
        self._alone = False

    def together(self) -> contextlib.AbstractContextManager[None]:
        return self._turn(lambda: not self._alone, alone=False)

    def alone(self) -> contextlib.AbstractContextManager[None]:
        return self._turn(lambda: not self._alone and not self._working, alone=True)

    @contextlib.contextmanager
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

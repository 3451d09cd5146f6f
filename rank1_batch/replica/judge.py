"""Judges a unit and commits its file, in an actor that owns one replica. Returns a small receipt."""

import contextlib
import itertools
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pyarrow as pa

from rank1_batch.errors import BadFileError, EngineDiedError, NodeError, Rank1BatchError
from rank1_batch.judging.again import begin_again, put_back
from rank1_batch.judging.records import BadRow, Judgment, Pair, failed_judgment
from rank1_batch.output.commits import commit_unit, find_committed
from rank1_batch.output.counts import Counts, count_judgments
from rank1_batch.output.deaths import read_deaths, record_last_life
from rank1_batch.output.fingerprint import name_prompt, name_reader
from rank1_batch.output.generations import Changes, Redo, count_changes, select_rows
from rank1_batch.output.judgments import build_judgments, parse_judgments, read_judgments
from rank1_batch.output.layout import CHANGES_KEY, PROMPT_KEY, READER_KEY, VERSIONS_KEY
from rank1_batch.output.lease import may_go_on
from rank1_batch.pairs.layout import read_pairs
from rank1_batch.pairs.reader import UnitReader
from rank1_batch.pairs.units import Unit
from rank1_batch.replica.feeder import count_slots
from rank1_batch.replica.golden import GoldenSet, check_scores, given_traces
from rank1_batch.replica.keeper import Keeper
from rank1_batch.replica.life import Life, Who
from rank1_batch.replica.loop import Replica
from rank1_batch.replica.places import SAME_PLACES, find_other_weights, find_unseen
from rank1_batch.replica.suspects import MOST_DEATHS, plan_turns
from rank1_batch.settings import GoldenConfig, RerankConfig, find_stall_s
from rank1_batch.storage.retries import count_retries
from rank1_batch.storage.store import open_store
from rank1_batch.versions import compare_versions, find_versions, scoring_versions

logger = logging.getLogger(__name__)

SET_ASIDE = f"set aside: {MOST_DEATHS} engines or more died while they judged this row, one of them over it alone"

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

    A unit is passed over when its run was asked to stop before it began. `again_rows` and `again_tokens` are of a redo:
    rows that it judged again, and the tokens of reasoning for them.
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
    again_rows: int | None = None
    again_tokens: int = 0

    def asked(self) -> Counts:
        """The counts of what was judged in this run. Of a redo these are the rows and new tokens that it asked for."""
        again = {} if self.again_rows is None else {"rows": self.again_rows, "trace_tokens": self.again_tokens}
        return self.counts._replace(**again)


class JudgeUnits:
    """Judges units, several at once. Ray Data calls it from one thread for each unit in flight.

    `actor` is a name that stays the same when a process takes the place of one that died. `is_lost` says whether a node
    is gone: a process that ran there did not die of its rows.
    """

    def __init__(
        self, spec: JudgeSpec, node: str, actor: str = "here", is_lost: Callable[[str], bool] = lambda _: False
    ) -> None:
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
        record_last_life(self._output, spec.run_id, actor, is_lost)
        self._deaths = [*read_deaths(self._output).values()]
        self._rows = UnitReader(open_store(spec.input_url), spec.config.input.columns, spec.config.input.keep)
        generation = spec.redo.generation if spec.redo else 0
        self._keeper = Keeper(self._output, generation, count_slots(spec.config.engine.max_num_seqs))
        self._replica = Replica(spec.config, self._keeper.add)
        who = Who(spec.run_id, actor, self._name, node)
        self._life = Life(self._output, self._replica, who, self._keeper.keep_all)
        self._check_golden(spec.config.golden)
        self._lock = threading.Lock()
        self._told, self._told_retries = self._replica.usage(), 0
        self._go_on = may_go_on(self._output, spec.run_id)
        threading.Thread(target=self._watch_lease, name="lease", daemon=True).start()
        stall_s = find_stall_s(spec.config)
        threading.Thread(target=self._life.watch, args=(stall_s,), name="stall", daemon=True).start()

    def __call__(self, unit: Unit) -> Receipt:
        """Judge and commit one unit.

        This process exits when its engine dies. Ray starts another one and calls it again.
        """
        if self._go_on:
            try:
                return self._judge(unit)
            except _StoppedError:
                pass
            except EngineDiedError as error:
                self._life.end(str(error))
            finally:
                self._life.begun.pop(unit.unit_id, None)
                self._keeper.end(unit.unit_id, committed=False)
        return Receipt(unit.unit_id, Counts(), False, self._node, self._name, time.monotonic(), passed_over=True)

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
                raise BadFileError(f"{error}. Repair the file, or leave it out: input.on_bad_file=skip") from error
            return Receipt(unit.unit_id, Counts(), False, self._node, self._name, start, failure=str(error))
        changes, metadata = None, self._metadata
        if self._spec.redo:
            judgments, changes = self._judge_again(unit, table, self._spec.redo)
            metadata = {**metadata, CHANGES_KEY: json.dumps(changes)}
        else:
            judgments = self._judge_rows(unit, read_pairs(table))
        counts = count_judgments(judgments)
        built = build_judgments(table, judgments, unit.unit_id, keep).replace_schema_metadata(metadata)
        won = commit_unit(self._output, unit, built, counts, generation)
        self._keeper.end(unit.unit_id, committed=True)
        begun = self._life.begun.get(unit.unit_id)
        began = begun.began if begun else start
        logger.info("judged unit=%s rows=%d seconds=%.1f", unit.unit_id, len(table), time.monotonic() - began)
        receipt = Receipt(unit.unit_id, counts, won, self._node, self._name, began, *self._new_usage())
        return receipt._replace(again_rows=changes.rows, again_tokens=changes.trace_tokens) if changes else receipt

    def _judge_rows(self, unit: Unit, rows: Sequence[Pair | BadRow]) -> list[Judgment]:
        """A judgment for each row, those that were kept included.

        `suspects.plan_turns` says which of the others are judged apart from all others.
        """
        judged = dict(self._keeper.begin(unit.unit_id, rows))
        turns = plan_turns(unit.unit_id, [row for row in range(len(rows)) if row not in judged], self._deaths)
        judged |= {row: failed_judgment(SET_ASIDE) for row in turns.set_aside}
        if turns.groups:
            groups = [[rows[row] for row in group] for group in turns.groups]
            answers = self._replica.judge_apart(groups, lambda number: self._begin(unit, turns.groups[number], rows))
            self._life.begin(unit.unit_id, (), rows)  # a death from now on has other causes
            judged |= zip(itertools.chain(*turns.groups), itertools.chain(*answers), strict=True)
        if turns.together:
            together = [rows[row] for row in turns.together]
            answer = self._replica.judge(together, lambda: self._begin(unit, turns.together, rows))
            judged |= zip(turns.together, answer, strict=True)
        return [judged[row] for row in range(len(rows))]

    def _begin(self, unit: Unit, places: Sequence[int], rows: Sequence[Pair | BadRow]) -> None:
        """Note whose turn it is. Raises _StoppedError if the run was asked to stop before the unit was begun."""
        if unit.unit_id not in self._life.begun and not self._go_on:
            raise _StoppedError
        self._life.begin(unit.unit_id, places, rows)
        logger.info("judging unit=%s rows=%d", unit.unit_id, len(places))

    def _judge_again(self, unit: Unit, table: pa.Table, redo: Redo) -> tuple[list[Judgment], Changes]:
        """The judgments of a committed unit, of which those that the redo selects are new, and what changed."""
        committed = read_judgments(self._output, unit)
        before = parse_judgments(committed)
        selected = select_rows(committed, redo.where)
        rows = begin_again(read_pairs(table), before)
        after = put_back(before, selected, self._judge_rows(unit, [rows[place] for place in selected]))
        return after, count_changes(before, after, selected)

    def _new_usage(self) -> tuple[int, int, int]:
        """Tokens sent, tokens found in the cache, and repeated requests since the last call."""
        with self._lock:
            told, self._told = self._told, self._replica.usage()
            retries, self._told_retries = count_retries() - self._told_retries, count_retries()
            sent, cached = self._told.prompt_tokens - told.prompt_tokens, self._told.cached_tokens - told.cached_tokens
            return sent, cached, retries

    def _check_golden(self, settings: GoldenConfig) -> None:
        """Raises GoldenError if this replica's scores differ from the golden set."""
        golden = self._spec.golden
        if golden is not None:
            judgments = self._replica.judge_given(given_traces(golden))
            check_scores(golden, judgments, settings, self._node)

    def _check_places(self, spec: JudgeSpec) -> None:
        """Raises NodeError where rows would be judged into a folder that nobody looks into, or by another model."""
        if unseen := find_unseen(spec.input_url, spec.first_file, spec.output_url, spec.config.model.name):
            host = socket.gethostname()
            raise NodeError([*(f"{host}: {problem}" for problem in unseen), SAME_PLACES])
        if problem := find_other_weights(spec.config.model, spec.weights):
            raise NodeError([f"{socket.gethostname()}: {problem}"])

    def _check_versions(self, expected: dict[str, str]) -> None:
        differing = compare_versions(expected, find_versions())
        if differing:
            raise NodeError([f"a worker has other versions than the driver: {', '.join(differing)}"])


class _StoppedError(Exception):
    """A unit was not started, because the run was asked to stop while it waited."""

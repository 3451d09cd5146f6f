"""summary.json: what a finished job says about itself, for people and for jobs that read its output."""

from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from rank1_batch.errors import BadFileError
from rank1_batch.output.counts import Counts
from rank1_batch.output.layout import SUMMARY_PATH
from rank1_batch.storage.documents import read_document, to_json
from rank1_batch.storage.store import Store, write_bytes

GATE_ADVICE = {
    "errors": ("of the rows failed", "their `error` column says why"),
    "closed": (
        "of the rows were closed before they ended",
        "raise policy.max_thinking_tokens (jobs.redo judges them again)",
    ),
    "truncated": (
        "of the passages were cut to fit the model",
        "raise model.max_model_len, or give it shorter passages",
    ),
    "saturated": (
        "of the scores are within 1e-6 of 0 or 1",
        "float32 would tie them: keep float64, or order by the two logprobs",
    ),
    "stray": (
        "of the verdicts give less than half to true and false together",
        "the model wanted to write neither; check that this is a Rank1 checkpoint and that the prompt matches it",
    ),
    "true_least": ("of the rows are true, which is few", "do input.columns name the query and the passage?"),
    "true_most": ("of the rows are true, which is many", "do input.columns name the query and the passage?"),
}
"""What a gate counts, and what to do if it does not pass."""


@dataclass(frozen=True)
class Gate:
    """A limit and the share that was found. `severity` is `warn` or `fail`, and matters if it was not `passed`."""

    name: str
    value: float
    limit: float
    passed: bool
    severity: str


@dataclass(frozen=True)
class ReplicaTotals:
    """What one replica did: its units, the start of its first and the end of its last (ISO 8601, UTC)."""

    units: int
    began_at: str
    ended_at: str


@dataclass(frozen=True)
class RunTotals:
    """What the last run of the job did. Rates are per second of judging, and None if nothing was judged.

    `seconds` are those of each stage. `units_committed_already` counts units that another replica or run committed
    first.
    """

    rows: int = 0
    units: int = 0
    units_committed_already: int = 0
    nodes: int = 0
    replicas: dict[str, ReplicaTotals] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    rows_per_s: float | None = None
    trace_tokens_per_s: float | None = None
    prefix_cache_hit_share: float | None = None
    storage_retries: int = 0


@dataclass(frozen=True)
class Summary:
    """The whole output, then the last run. In the file the counts stand among the other keys.

    Shares are of the judged rows, None where there are none. `first_stages` name the runs that the pairs came from.
    `judged_with` has the model, its revision, the kind of the engine and the policy; in a `dry_run` no model was asked,
    and the file says so first. `rows_not_in_run` counts ranked
    rows that run.trec.gz lacks, because a TREC run cannot hold their ids; `ids_not_in_run` are some of these ids.
    """

    counts: Counts
    closed_share: float | None = None
    true_share: float | None = None
    queries: int = 0
    duplicate_candidates: int = 0
    rows_not_in_run: int = 0
    ids_not_in_run: list[str] = field(default_factory=list)
    bad_files: list[str] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
    this_run: RunTotals = field(default_factory=RunTotals)
    versions: dict[str, str] = field(default_factory=dict)
    first_stages: list[Any] = field(default_factory=list)
    prompt: dict[str, Any] = field(default_factory=dict)
    judged_with: dict[str, Any] = field(default_factory=dict)
    dry_run: bool = False


def describe_gate(gate: Gate) -> str:
    """The result of a gate in a sentence, with what to do about it."""
    what, advice = GATE_ADVICE[gate.name]
    limit = f"gates.{gate.severity}.{gate.name}={gate.limit:g}"
    return f"{100 * gate.value:.3g} % {what} ({limit}): {advice}"


def read_summary(store: Store) -> Summary | None:
    """The summary of an output, or None. Raises BadFileError if it is damaged."""
    found = read_document(store, SUMMARY_PATH, dict[str, Any])
    if found is None:
        return None
    try:
        # An earlier version may have fewer fields.
        counts = [found.get(name, 0) for name in Counts._fields]
        return msgspec.convert({**found, "counts": counts}, Summary)
    except msgspec.ValidationError as error:
        raise BadFileError(f"{store.url}/{SUMMARY_PATH} is damaged: {error}") from error


def write_summary(store: Store, summary: Summary) -> None:
    """Write the summary in place of an earlier one."""
    write_bytes(store, SUMMARY_PATH, summary_to_json(summary))


def summary_to_json(summary: Summary) -> bytes:
    """The content of summary.json."""
    fields = asdict(summary)
    del fields["counts"]
    return to_json({"dry_run": summary.dry_run, **summary.counts._asdict(), **fields})

"""What the first page says, out of an output and what was counted in it. Knows nothing about HTML."""

import datetime as dt
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

from rank1_batch.jobs.report.charts import Whisker, describe_middle, draw_gains, draw_whisker
from rank1_batch.jobs.report.drawings import draw_charts
from rank1_batch.jobs.report.figures import TOP_PLACES, Figures
from rank1_batch.jobs.report.grading import GradedFigures, MeasuredOrder
from rank1_batch.jobs.report.source import JobOutput
from rank1_batch.jobs.report.words import format_seconds
from rank1_batch.judging.records import Finish, PolicyKind
from rank1_batch.output.summary import GATE_ADVICE, Gate, RunTotals, describe_gate
from rank1_batch.settings import SCRIPTED

SUMMARY_LETTERS = 420
"""Letters of a trace in an example."""


class Contents(NamedTuple):
    """What a page is made of. `pieces` are the numbers of files by kind, `missing` says why there are no texts."""

    output: JobOutput
    figures: Figures
    graded: GradedFigures | None
    pieces: Mapping[str, int]
    folder: str
    traces: str
    missing: str | None
    relevance_threshold: int


def build_config(contents: Contents) -> dict[str, Any]:
    """What the program of the page needs to know."""
    return {
        "folder": contents.folder,
        "pieces": contents.pieces,
        "threshold": contents.relevance_threshold,
        "graded": contents.graded is not None,
        "budget": _find_budget(contents.output),
        "measure": contents.graded.measures[0].name if contents.graded else None,
    }


def _find_budget(output: JobOutput) -> int | None:
    """Most tokens of reasoning; None if the model does not reason."""
    policy = output.fingerprint.get("policy", {})
    return policy.get("max_thinking_tokens") if policy.get("kind") == PolicyKind.FULL else None


def describe_contents(contents: Contents) -> dict[str, Any]:
    """The names that the template uses."""
    figures, output = contents.figures, contents.output
    budget = _find_budget(output)
    return {
        "output": output,
        "figures": figures,
        "judged": figures.rows - figures.finishes[Finish.ERROR],
        "graded": contents.graded,
        "missing": contents.missing,
        "traces": contents.traces,
        "threshold": contents.relevance_threshold,
        "model": str(output.fingerprint.get("model", {}).get("name", "an unknown model"))
        .rstrip("/")
        .rpartition("/")[2],
        "scripted": output.fingerprint.get("engine", {}).get("kind") == SCRIPTED,
        "budget": budget,
        "made_with": version("rank1-batch"),
        "made_at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "charts": draw_charts(figures, budget),
        "gains": draw_gains(contents.graded.gains, contents.graded.measures[0].name) if contents.graded else None,
        "measures": list(_draw_measures(contents.graded)),
        "trace_middle": describe_middle(figures.trace_tokens),
        "newcomers": _count_newcomers(figures),
        "examples": [(kind, found) for kind in figures.kinds if (found := figures.examples(kind.name))],
        "gates": list_gates(output),
        "facts": list(list_facts(output)),
        "summary_letters": SUMMARY_LETTERS,
        "top": TOP_PLACES,
    }


class GateLine(NamedTuple):
    """A limit of a healthy job, and what to do if it was not kept."""

    passed: bool
    severity: str
    text: str


def list_gates(output: JobOutput) -> list[GateLine]:
    """The limits of a finished job; none before."""
    gates = output.summary.gates if output.summary else []
    return [GateLine(gate.passed, gate.severity, _describe_limit(gate)) for gate in gates]


def _describe_limit(gate: Gate) -> str:
    """What to do is left out where there is nothing to do."""
    if not gate.passed:
        return describe_gate(gate)
    what = GATE_ADVICE[gate.name][0].partition(",")[0]
    return f"{100 * gate.value:.3g} % {what} ({gate.name}={gate.limit:g})"


def list_facts(output: JobOutput) -> Iterator[tuple[str, str]]:
    """How the judgments were made: names and values."""
    made, summary = output.fingerprint, output.summary
    model, engine, prompt, policy = (made.get(name, {}) for name in ("model", "engine", "prompt", "policy"))
    yield "Model", str(model.get("name", "unknown"))
    yield "Revision", str(model.get("revision") or "none given")
    yield "Engine", str(engine.get("kind", "unknown"))
    yield "Prompt", f"{prompt.get('id', 'unknown')}, version {prompt.get('version', '?')}"
    budget = _find_budget(output)
    yield "Policy", str(policy.get("kind", "unknown")) + (f", at most {budget:,} tokens of reasoning" if budget else "")
    yield "Output", output.store.url
    for generation in output.again:
        yield "Judged again", f"rows where {generation['where']}"
    if summary:
        run = summary.this_run
        seconds = sum(run.seconds.values())
        engines = f"{len(run.replicas)} replicas on {run.nodes} nodes"
        yield "Last run", f"{run.rows:,} rows in {format_seconds(seconds)}, {engines}"
        if run.rows_per_s:
            yield "Speed", f"{run.rows_per_s:,} rows/s, {run.trace_tokens_per_s or 0:,} tokens of reasoning/s"
        yield "Cost", describe_cost(run, output.settings.get("engine", {}).get("gpus", 0))
        yield "Versions", ", ".join(f"{name} {number}" for name, number in summary.versions.items())


def describe_cost(run: RunTotals, gpus: int) -> str:
    """The hours in which replicas worked, and those of their GPUs."""
    spans = [
        (dt.datetime.fromisoformat(one.began_at), dt.datetime.fromisoformat(one.ended_at))
        for one in run.replicas.values()
    ]
    hours = sum((ended - began).total_seconds() for began, ended in spans) / 3600
    return f"{hours:.2f} replica-hours" + (f", {gpus * hours:.2f} GPU-hours" if gpus else "")


class MeasureLine(NamedTuple):
    """A measure with its drawn interval; None if there is none."""

    measure: MeasuredOrder
    whisker: Whisker | None


def _draw_measures(graded: GradedFigures | None) -> Iterator[MeasureLine]:
    if graded is None:
        return
    ends = [abs(end) for one in graded.measures if one.interval for end in one.interval]
    most = max(ends, default=0.0) or 1.0
    for one in graded.measures:
        difference, interval = one.comparison.difference, one.interval
        drawn = None if difference is None or interval is None else draw_whisker(difference, *interval, most)
        yield MeasureLine(one, drawn)


def _count_newcomers(figures: Figures) -> tuple[int, int]:
    """How many rows of the new top ten stood below the first stage's, and of how many."""
    return sum(count for was, count in figures.top_was.items() if was > TOP_PLACES), figures.top_was.total()

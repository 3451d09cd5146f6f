"""`labels_card.md` and its picture. They help a person decide whether to train on these labels."""

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rank1_batch.jobs.export.choice import Reason, ScoreScale
from rank1_batch.jobs.export.formats import FORMATS
from rank1_batch.jobs.export.queries import ALL, NEGATIVE, POSITIVE
from rank1_batch.jobs.export.totals import SCORE_BINS
from rank1_batch.jobs.export.trust import LEAST_PAIRS
from rank1_batch.output.fingerprint import find_judge

CARD_PATH, PICTURE_PATH = "labels_card.md", "labels.png"

NOTHING = "-"

RECORDS = tuple(name for name, form in FORMATS.items() if form.suffix in ("jsonl", "parquet"))
"""Formats that `datasets` can load: files of records."""

Report = Mapping[str, Any]

ONE_SIDED = (
    "These grades are all relevant, or all not. They can show at most which share of the relevant pairs the labels "
    "find (recall). Any labels would have the same precision and kappa, so these are not shown, and no threshold is "
    "proposed."
)


def render_card(report: Report) -> str:
    """The card in Markdown, with the front matter that the Hugging Face hub reads."""
    parts = [
        _render_front_matter(report),
        *_render_head(report),
        "All figures are in `labels.json`. `links/` leads from each record to its judgments and their traces.",
        f"![Scores and reliability]({PICTURE_PATH})",
        "## Rows",
        _table(("rows", "", ""), [(name, str(rows), share) for name, rows, share in list_rows(report)]),
        "## Data",
        _table(("split", "queries", "positives", "negatives"), _list_splits(report)),
        _table(("format", "split", "files", "records"), _list_files(report)),
        *_render_scales(report["scales"]),
        *_render_example(report["example"]),
        "## Agreement with people",
        *_render_trust(report),
        "## Versions",
        _table(("package", "when judged", "when exported"), _list_versions(report)),
        "## Settings",
        "```\n" + "\n".join(_flatten({**report["settings"], "judged_with": report["judged_with"]})) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def describe_judge(report: Report) -> str:
    """The model, engine, prompt and policy in one line."""
    judged = report["judged_with"]
    model, prompt, policy = judged["model"], judged["prompt"], judged["policy"]
    revision = f" @{model['revision']}" if model["revision"] else ""
    asked = f"engine {judged['engine']['kind']}, prompt {prompt['id']} version {prompt['version']}"
    return f"{model['name']}{revision}, {asked}, policy {policy['kind']}"


def is_dry_run(report: Report) -> bool:
    """Whether no model was asked, so that all labels are made up."""
    judge = find_judge(report["judged_with"])
    return judge is not None and judge.is_dry_run


def _render_front_matter(report: Report) -> str:
    """What the hub shows and `datasets.load_dataset` reads: a configuration for each format of records."""
    lines = ["---", "pretty_name: Silver labels of rank1_batch", "task_categories:", "- text-ranking", "tags:"]
    lines += ["- silver-labels", "- rank1_batch", *(["- dry-run"] if is_dry_run(report) else [])]
    for place, (name, splits) in enumerate((name, own) for name, own in report["files"].items() if name in RECORDS):
        lines += ["configs:"] if place == 0 else []
        lines += [f"- config_name: {name}", "  data_files:"]
        lines += [line for split in splits for line in (f"  - split: {split}", f"    path: {name}/{split}/*")]
    return "\n".join([*lines, "---"])


def _render_head(report: Report) -> Iterator[str]:
    if is_dry_run(report):
        yield "# Made-up labels of a dry run"
        yield "No model was asked (`engine=scripted`). Train nothing on these labels."
        yield f"The settings: {describe_judge(report)}."
    else:
        yield "# Silver labels"
        yield f"Made by a model, not by people: {describe_judge(report)}."
    if report["judged_on"]:
        yield f"The judging ended on {report['judged_on']} (UTC)."


def _render_scales(scales: Mapping[str, str | None]) -> Iterator[str]:
    """Which scale the scores of each format have, and why."""
    scored = {name: scale for name, scale in scales.items() if scale}
    if scored:
        yield _table(("format", "scores are"), [(name, scale.replace("_", "-")) for name, scale in scored.items()])
    softmax = [name for name in scored if FORMATS[name].scale is ScoreScale.LOG_ODDS]
    if softmax:
        yield (
            f"The trainer of {' and '.join(softmax)} takes a softmax over the scores. A softmax over log-odds keeps "
            "what the judge said. Over probabilities it would give a passage of 0.999 only 0.28 beside seven of 0.001."
        )


def _render_example(example: Mapping[str, Any] | None) -> Iterator[str]:
    if example is not None:
        yield f"The first record of {example['format']} (long texts and lists are cut):"
        record = example["record"]
        shown = record if isinstance(record, str) else json.dumps(record, ensure_ascii=False, indent=1)
        fence = "~" * (max(map(len, re.findall("~+", shown)), default=2) + 1)
        yield f"{fence}json\n{shown}\n{fence}"


def _list_versions(report: Report) -> list[tuple[str, ...]]:
    then, now = report["judged_by_versions"], report["versions"]
    return [(name, then.get(name, NOTHING), now.get(name, NOTHING)) for name in {**then, **now}]


def list_rows(report: Report) -> list[tuple[str, int, str]]:
    """Lines of name, number and share: rows judged, rows left out for each reason, rows exported."""
    total = report["rows"]
    left_out = [(reason.value, report["left_out"].get(reason.name.lower(), 0)) for reason in Reason]
    lines = [("judged", total), *((f"- {name}", rows) for name, rows in left_out if rows)]
    return [(name, rows, _share(rows, total)) for name, rows in [*lines, ("exported", report["exported"])]]


def list_measures(report: Report) -> list[tuple[str, str]]:
    """The measures of agreement, each with its interval. Empty without qrels."""
    trust = report["trust"]
    if trust is None:
        return []
    named = [(f"verdict: {name}", value) for name, value in trust["verdicts"].items()]
    labels = {name: value for name, value in trust["labels"].items() if name != "graded"}
    named += [(f"label: {name.replace('_', ' ')}", value) for name, value in labels.items()]
    return [(name, format_measure(value)) for name, value in named]


def format_measure(measure: Mapping[str, float | None]) -> str:
    """A value with its 95 % interval; a dash if it is not defined."""
    if measure["value"] is None:
        return NOTHING
    interval = "" if measure["low"] is None else f"  ({measure['low']:.3f} to {measure['high']:.3f})"
    return f"{measure['value']:.3f}{interval}"


def draw_picture(report: Report) -> bytes:
    """A PNG with the scores of all rows and of the exported rows. With qrels it also has the reliability curve."""
    from matplotlib.figure import Figure

    curves = report["trust"]["reliability"] if report["trust"] else {}
    figure = Figure(figsize=(11 if curves else 5.5, 4), layout="constrained")
    axes = figure.subplots(1, 2 if curves else 1, squeeze=False)[0]
    _draw_scores(axes[0], report["score_histogram"])
    if curves:
        _draw_reliability(axes[1], curves)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def _draw_scores(axes: Any, histogram: Mapping[str, list[int]]) -> None:
    places = [(number + 0.5) / SCORE_BINS for number in range(SCORE_BINS)]
    axes.bar(places, histogram[ALL], 1 / SCORE_BINS, color="0.85", label="all judged")
    axes.bar(places, histogram[NEGATIVE], 0.7 / SCORE_BINS, color="tab:orange", label="negatives")
    axes.bar(
        places, histogram[POSITIVE], 0.7 / SCORE_BINS, bottom=histogram[NEGATIVE], color="tab:blue", label="positives"
    )
    axes.set(xlabel="score", ylabel="rows", xlim=(0, 1), title="Scores")
    axes.legend()


def _draw_reliability(axes: Any, curves: Mapping[str, Any]) -> None:
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--")
    for name, curve in curves.items():
        points = [(one["mean_score"], one["relevant_share"]) for one in curve["bins"]]
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", label=name)
    axes.set(xlabel="mean score", ylabel="share that people call relevant", xlim=(0, 1), ylim=(0, 1))
    axes.set_title("Reliability, on queries nothing was fitted to")
    axes.legend()


def _render_trust(report: Report) -> Iterator[str]:
    trust = report["trust"]
    if trust is None:
        yield "Not measured: no qrels were given."
        return
    graded, labelled = trust["graded"], trust["labels"]["graded"]
    yield (
        f"{graded['pairs']} judged pairs of {graded['queries']} queries have a grade; {graded['relevant']} of them are "
        f"relevant. {labelled['pairs']} of them were exported"
        f"{' in queries that nothing was fitted on' if 'calibrated' in trust['reliability'] else ''}. "
        "In brackets: 95 % intervals, by drawing queries."
    )
    if trust["one_sided"]:
        yield ONE_SIDED
    yield _table(("measure", "value"), list_measures(report))
    if trust["one_sided"]:
        return
    fitted, reported = trust["fitted_on"], trust["reported_on"]
    yield (
        f"Fitted on {fitted['pairs']} pairs of {fitted['queries']} queries, reported on "
        f"{reported['pairs']} of {reported['queries']} others:"
    )
    errors = [
        (name, _number(curve["brier"]), _number(curve["calibration_error"]))
        for name, curve in trust["reliability"].items()
    ]
    yield _table(("score", "Brier", "calibration error"), errors)
    yield (
        "The proposed thresholds keep the wanted precision with a chance of 95 %. The lower bound is of the pairs that "
        f"were fitted on, at least {LEAST_PAIRS} of them. Precision and recall are of the other queries:"
    )
    head = ("wanted precision", "labels.positive_from", "lower bound", "precision reached", "recall")
    yield _table(head, _list_thresholds(trust))


def _list_thresholds(trust: Report) -> list[tuple[str, ...]]:
    return [
        (f"{one['wanted_precision']:g}", "not reached", NOTHING, NOTHING, NOTHING)
        if one["positive_from"] is None
        else (
            f"{one['wanted_precision']:g}",
            f"{one['positive_from']:.6g}",
            f"{one['lower_bound']:.3f}",
            format_measure(one["precision"]),
            format_measure(one["recall"]),
        )
        for one in trust["thresholds"]
    ]


def _list_splits(report: Report) -> list[tuple[str, ...]]:
    return [
        (name, *(str(counts[key]) for key in ("queries", "positives", "negatives")))
        for name, counts in report["splits"].items()
    ]


def _list_files(report: Report) -> list[tuple[str, ...]]:
    return [
        (name, split, str(counts["files"]), str(counts["records"]))
        for name, splits in report["files"].items()
        for split, counts in splits.items()
    ]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}: {value!r}"


def _share(rows: int, total: int) -> str:
    return f"{rows / total:.1%}" if total else ""


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"

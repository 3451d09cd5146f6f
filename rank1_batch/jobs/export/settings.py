"""The settings of `jobs.export`: their types, and what is checked before anything is read."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from rank1_batch.cli.command import Job
from rank1_batch.cli.fields import setting
from rank1_batch.jobs.export.choice import LabelSource, Pick, Rules, ScoreScale
from rank1_batch.judging.records import Finish
from rank1_batch.settings import InputConfig, input_paths, lies_inside

QRELS = "qrels"

CALIBRATIONS = ("none", "platt", "isotonic")

AUTO = "auto"

SCALES = (AUTO, *ScoreScale)

TARGETS = ("score", "label")

CLASSES = ("positive", "negative")

FINISHES = tuple(str(finish) for finish in Finish if finish is not Finish.ERROR)


@dataclass
class JudgedConfig:
    """The output of `jobs.rerank` from which labels are made."""

    path: str = setting("a finished output of rerank")


@dataclass
class PairsConfig:
    """The input of that job. None means the place where the job last read it."""

    path: Any = setting("its pairs; null looks where the job read them", None)


@dataclass
class LabelsConfig:
    """Where labels are written, and which rows become labels. See `choice.Rules`.

    `source` and `agree_with` are `qrels` or the name of a kept column. `source` can also be `model`.
    """

    path: str = setting("an empty folder, or the output of this same export")
    source: str = setting("what makes a positive: model (its score), qrels or a kept column", "model")
    agree_with: str | None = setting("keep a pair only if qrels, or a kept column, agrees", None)
    min_relevance: int = setting("smallest grade of qrels that is relevant", 1)
    finishes: list[str] = setting("ends of reasoning to take: complete, closed, no_think", lambda: ["complete"])
    positive_from: float = setting("smallest score of a positive", 0.5)
    negative_to: float = setting("largest score of a negative", 0.5)
    margin: float | None = setting("least distance of the scores of positives and negatives", None)
    negative_ranks: list[int] | None = setting("first-stage ranks of negatives: [10,100]", None)
    drop_called_true: bool = setting("no negatives that the model calls true", default=True)
    ratio: float | None = setting("most of the best positive's score that a negative may have", None)
    max_positives: int | None = setting("most positives of a query; the best stay", None)
    max_negatives: int | None = setting("most negatives of a query", None)
    negatives_per_positive: int | None = setting("most negatives for each positive", None)
    pick: str = setting("which negatives stay: random, or hard (first-stage rank)", "random")
    keep_without: list[str] = setting("keep queries without: positive, negative", list)
    dev_share: float = setting("share of queries that goes to dev/", 0.0)
    seed: int = setting("seed of random choices", 0)
    allow_scripted: bool = setting("export the made-up answers of a dry run, too", default=False)
    targets: str = setting("target of st_*: score, or label (0 and 1)", "score")
    scale: str = setting("of scores: auto (by format), probability or log_odds", "auto")
    prompt: str | None = setting("the prompt that FlagEmbedding asks for", None)
    shard_rows: int = setting("judged rows in a file", 25_000)


@dataclass
class TrustConfig:
    """How labels are compared with people's grades. `fit_share` is the share of graded queries used for fitting."""

    calibration: str = setting("none, platt or isotonic, fitted to qrels", "none")
    fit_share: float = setting("share of the graded queries to fit with", 0.5)
    wanted_precision: list[float] = setting("precisions to propose thresholds for", lambda: [0.9, 0.95])
    resamples: int = setting("draws of queries for the intervals", 1000)


@dataclass
class ExportConfig:
    """All settings of `jobs.export`. `format` and `qrels` take one value or a list."""

    format: Any = setting("a format, or several: [tevatron,qrels]")
    output: JudgedConfig = setting("the judgments", JudgedConfig)
    input: PairsConfig = setting("the texts", PairsConfig)
    labels: LabelsConfig = setting("which rows become training data, and where it goes", LabelsConfig)
    qrels: Any = setting("people's grades: TREC, BEIR's TSV, Parquet; one file or several", None)
    trust: TrustConfig = setting("how labels are checked against qrels", TrustConfig)


def format_names(config: ExportConfig) -> list[str]:
    """The formats asked for, each once."""
    names = config.format if isinstance(config.format, list) else [config.format]
    return list(dict.fromkeys(str(name) for name in names))


def find_scale(config: ExportConfig, name: str) -> ScoreScale | None:
    """The scale of the scores in a format: its own, unless `labels.scale` names one. None if it has no scores."""
    from rank1_batch.jobs.export.formats import FORMATS

    own = FORMATS[name].scale
    return own if own is None or config.labels.scale == AUTO else ScoreScale(config.labels.scale)


def given_from(config: ExportConfig) -> str | None:
    """Where given labels come from: `qrels`, a kept column, or nowhere."""
    return config.labels.agree_with or (None if config.labels.source == LabelSource.MODEL else config.labels.source)


def build_rules(config: ExportConfig) -> Rules:
    """The settings as rules for choosing rows."""
    labels = config.labels
    return Rules(
        source=LabelSource.MODEL if labels.source == LabelSource.MODEL else LabelSource.GIVEN,
        finishes=frozenset(labels.finishes),
        agree=labels.agree_with is not None,
        positive_from=labels.positive_from,
        negative_to=labels.negative_to,
        margin=labels.margin,
        negative_ranks=None if labels.negative_ranks is None else (labels.negative_ranks[0], labels.negative_ranks[1]),
        drop_called_true=labels.drop_called_true,
        ratio=labels.ratio,
        max_positives=labels.max_positives,
        max_negatives=labels.max_negatives,
        negatives_per_positive=labels.negatives_per_positive,
        pick=Pick(labels.pick),
        keep_without_positive="positive" in labels.keep_without,
        keep_without_negative="negative" in labels.keep_without,
        seed=labels.seed,
    )


def describe_settings(config: ExportConfig) -> dict[str, Any]:
    """All settings that decide what is exported, as plain values. Paths are left out: they may hold a credential."""
    labels = {name: value for name, value in asdict(config.labels).items() if name != "path"}
    return {"format": format_names(config), "labels": labels, "trust": asdict(config.trust)}


def check_export(config: ExportConfig) -> list[str]:
    """What is wrong with the settings, one sentence for each problem. Empty if they are right."""
    return _check_formats(config) + _check_rows(config.labels) + _check_given(config) + _check_trust(config)


def _check_formats(config: ExportConfig) -> list[str]:
    from rank1_batch.jobs.export.formats import FORMATS

    names = format_names(config)
    problems = [
        f"format={name}: no such format; there are {', '.join(FORMATS)}" for name in names if name not in FORMATS
    ]
    known = {name: FORMATS[name] for name in names if name in FORMATS}
    if not names:
        problems.append(f"format is empty; there are {', '.join(FORMATS)}")
    for name, form in known.items():
        if form.needs_both and config.labels.keep_without:
            problems.append(f"labels.keep_without: format={name} needs a positive and a negative for each query")
        if form.needs_trace and Finish.NO_THINK in config.labels.finishes:
            problems.append(f"labels.finishes: format={name} trains on reasoning, which rows with no_think do not have")
        if find_scale(config, name) is ScoreScale.LOG_ODDS and config.trust.calibration == "isotonic":
            problems.append(
                f"trust.calibration=isotonic gives 0 and 1, which have no log-odds, but format={name} has log-odds as "
                "scores: use platt, or labels.scale=probability"
            )
    if config.labels.prompt is not None and "flagembedding" not in names:
        problems.append("labels.prompt: no format but flagembedding has a prompt of its own")
    if config.input.path is not None:
        problems += check_apart(config.labels.path, config.input.path)
    return problems + _check_choices(config)


def check_apart(labels_path: str, input_path: Any) -> list[str]:
    """Problems with the place for labels: inside the input, they would be read as pairs."""
    inside = [path for path in input_paths(InputConfig(path=input_path)) if lies_inside(labels_path, path)]
    return [f"labels.path lies inside the input {path}: its files would be read as input" for path in inside]


def _check_choices(config: ExportConfig) -> list[str]:
    labels = config.labels
    one_of = [
        ("labels.targets", labels.targets, TARGETS),
        ("labels.scale", labels.scale, SCALES),
        ("labels.pick", labels.pick, tuple(Pick)),
        ("trust.calibration", config.trust.calibration, CALIBRATIONS),
        *(("labels.finishes", finish, FINISHES) for finish in labels.finishes),
        *(("labels.keep_without", name, CLASSES) for name in labels.keep_without),
    ]
    return [
        f"{key} has {value!r}, but must be one of {', '.join(choices)}"
        for key, value, choices in one_of
        if value not in choices
    ]


def _check_rows(labels: LabelsConfig) -> list[str]:
    """Numbers out of range, and rules that no row can meet."""
    unit = {name: getattr(labels, name) for name in ("positive_from", "negative_to", "margin", "ratio", "dev_share")}
    problems = [
        f"labels.{name} is {value}, but must be between 0 and 1"
        for name, value in unit.items()
        if value is not None and not 0 <= value <= 1
    ]
    least = {"max_positives": 1, "max_negatives": 1, "negatives_per_positive": 1, "shard_rows": 1}
    problems += [
        f"labels.{name} is {value}, but must be at least {low}"
        for name, low in least.items()
        if (value := getattr(labels, name)) is not None and value < low
    ]
    if not labels.finishes:
        problems.append(f"labels.finishes is empty: no row could be taken; there are {', '.join(FINISHES)}")
    match labels.negative_ranks:
        case None:
            pass
        case [first, last] if 1 <= first <= last:
            pass
        case ranks:
            problems.append(f"labels.negative_ranks is {ranks}, but must be two first-stage ranks from 1, as [10,100]")
    return problems + _check_contradictions(labels)


def _check_contradictions(labels: LabelsConfig) -> list[str]:
    problems = []
    by_score = labels.source == LabelSource.MODEL
    if by_score and labels.negative_to > labels.positive_from:
        problems.append(
            f"labels.negative_to ({labels.negative_to}) is over labels.positive_from ({labels.positive_from}): "
            "a row between them would be both"
        )
    if labels.negatives_per_positive is not None and "positive" in labels.keep_without:
        problems.append(
            "labels.negatives_per_positive leaves no negative to a query that labels.keep_without=positive keeps"
        )
    if not by_score and labels.agree_with not in (None, labels.source):
        problems.append(f"labels.agree_with ({labels.agree_with}) and labels.source ({labels.source}) differ: use one")
    return problems


def _check_given(config: ExportConfig) -> list[str]:
    problems = []
    if given_from(config) == QRELS and config.qrels is None:
        problems.append("qrels must be given: labels.source or labels.agree_with asks for them")
    if config.trust.calibration != "none" and config.qrels is None:
        problems.append(f"qrels must be given: trust.calibration={config.trust.calibration} is fitted to them")
    return problems


def _check_trust(config: ExportConfig) -> list[str]:
    trust = config.trust
    problems = [
        f"trust.wanted_precision has {value}, but must be between 0 and 1"
        for value in trust.wanted_precision
        if not 0 < value <= 1
    ]
    if not 0 < trust.fit_share < 1 or math.isnan(trust.fit_share):
        problems.append(f"trust.fit_share is {trust.fit_share}, but must be between 0 and 1")
    if trust.resamples < 1:
        problems.append(f"trust.resamples is {trust.resamples}, but must be at least 1")
    return problems


JOB = Job(
    "export",
    """\
Turns judgments into training data. A card says what went in, what was left out,
and how far the labels agree with people.

  rank1-batch export output.path=judged input.path=pairs labels.path=labels \\
    format=tevatron

formats
  tevatron       a query with scored passages, for Tevatron's distillation
  st_pairs       sentence-transformers: a pair and its target
  st_triplets    sentence-transformers: each positive with each negative
  st_lists       sentence-transformers: a query with all passages and targets
  flagembedding  a query with positives, negatives and teacher scores
  scores         the scores of a query by doc_id
  qrels          TREC qrels: 1 for positives, 0 for negatives
  rank1          the judge's prompt and answer, for a reasoning reranker
""",
    ExportConfig,
    check_export,
)

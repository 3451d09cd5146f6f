"""The settings of `jobs.export`: their types, and what is checked before anything is read."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from omegaconf import MISSING

from rank1_batch.jobs.export.choice import Pick, Rules, Source
from rank1_batch.jobs.export.formats import FORMATS
from rank1_batch.judging.records import Finish
from rank1_batch.settings import InputConfig, input_paths, lies_inside

QRELS = "qrels"

CALIBRATIONS = ("none", "platt", "isotonic")

SCALES = ("probability", "log_odds")

TARGETS = ("score", "label")

CLASSES = ("positive", "negative")

FINISHES = tuple(str(finish) for finish in Finish if finish is not Finish.ERROR)


@dataclass
class JudgedConfig:
    """The output of `jobs.rerank` from which labels are made."""

    path: str = MISSING


@dataclass
class PairsConfig:
    """The input of that job. None means the place where the job last read it."""

    path: Any = None


@dataclass
class LabelsConfig:
    """Where labels are written, and which rows become labels. See `choice.Rules`.

    `source` and `agree_with` are `qrels` or the name of a kept column. `source` can also be `model`.
    """

    path: str = MISSING
    source: str = "model"
    agree_with: str | None = None
    min_relevance: int = 1
    finishes: list[str] = field(default_factory=lambda: ["complete"])
    positive_from: float = 0.5
    negative_to: float = 0.5
    margin: float | None = None
    negative_ranks: list[int] | None = None
    drop_called_true: bool = True
    ratio: float | None = None
    max_positives: int | None = None
    max_negatives: int | None = None
    negatives_per_positive: int | None = None
    pick: str = "random"
    keep_without: list[str] = field(default_factory=list)
    dev_share: float = 0.0
    seed: int = 0
    targets: str = "score"
    scale: str = "probability"
    prompt: str | None = None
    shard_rows: int = 25_000


@dataclass
class TrustConfig:
    """How labels are compared with people's grades. `fit_share` is the share of graded queries used for fitting."""

    calibration: str = "none"
    fit_share: float = 0.5
    wanted_precision: list[float] = field(default_factory=lambda: [0.9, 0.95])
    resamples: int = 1000


@dataclass
class ExportConfig:
    """All settings of `jobs.export`. `format` and `qrels` take one value or a list."""

    format: Any = MISSING
    output: JudgedConfig = field(default_factory=JudgedConfig)
    input: PairsConfig = field(default_factory=PairsConfig)
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    qrels: Any = None
    trust: TrustConfig = field(default_factory=TrustConfig)


def format_names(config: ExportConfig) -> list[str]:
    """The formats asked for, each once."""
    names = config.format if isinstance(config.format, list) else [config.format]
    return list(dict.fromkeys(str(name) for name in names))


def given_from(config: ExportConfig) -> str | None:
    """Where given labels come from: `qrels`, a kept column, or nowhere."""
    return config.labels.agree_with or (None if config.labels.source == Source.MODEL else config.labels.source)


def build_rules(config: ExportConfig) -> Rules:
    """The settings as rules for choosing rows."""
    labels = config.labels
    return Rules(
        source=Source.MODEL if labels.source == Source.MODEL else Source.GIVEN,
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
    names = format_names(config)
    problems = [
        f"format={name}: no such format; there are {', '.join(FORMATS)}" for name in names if name not in FORMATS
    ]
    known = {name: FORMATS[name] for name in names if name in FORMATS}
    if not names:
        problems.append(f"format names none; there are {', '.join(FORMATS)}")
    for name, form in known.items():
        if form.needs_both and config.labels.keep_without:
            problems.append(f"labels.keep_without: format={name} needs a positive and a negative for each query")
        if form.needs_trace and Finish.NO_THINK in config.labels.finishes:
            problems.append(f"labels.finishes: format={name} trains on reasoning, which rows with no_think do not have")
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
        f"{key} has {value!r}, but must be of {', '.join(choices)}"
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
    by_score = labels.source == Source.MODEL
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
    if config.labels.scale == "log_odds" and config.trust.calibration == "isotonic":
        problems.append("labels.scale=log_odds: trust.calibration=isotonic gives 0 and 1, which have none")
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

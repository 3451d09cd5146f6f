"""The export job from start to end: check, sort rows into buckets by query, measure, choose and write."""

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rank1_batch.columns import DOC_ID, FALSE_LOGPROB, FINISH, LABEL, QUERY, QUERY_ID, SCORE, TRACE, TRUE_LOGPROB
from rank1_batch.errors import SettingsError
from rank1_batch.jobs.export.card import CARD_PATH, PICTURE_PATH, draw_picture, render_card
from rank1_batch.jobs.export.choice import ScoreScale, is_dev
from rank1_batch.jobs.export.claim import EXPORT, build_claim, check_labels, write_report
from rank1_batch.jobs.export.files import Shard
from rank1_batch.jobs.export.formats import FORMATS, Style, check_qrels_id
from rank1_batch.jobs.export.queries import (
    Given,
    choose_queries,
    find_log_odds,
    given_by_column,
    given_by_grades,
    read_given,
)
from rank1_batch.jobs.export.rows import (
    GradeTable,
    Judgments,
    Texts,
    check_job,
    describe_judging,
    open_judgments,
    open_texts,
    read_grades,
    read_judged,
)
from rank1_batch.jobs.export.settings import (
    QRELS,
    ExportConfig,
    build_rules,
    find_scale,
    format_names,
    given_from,
)
from rank1_batch.jobs.export.totals import DEV, TRAIN, Totals
from rank1_batch.jobs.export.trust import Calibration, Graded, build_graded, fit_calibration, split_graded
from rank1_batch.jobs.export.trust_section import describe_trust
from rank1_batch.output.claims import write_claim
from rank1_batch.storage.buckets import deal_rows, read_bucket, read_buckets
from rank1_batch.storage.scratch import scratch_folder
from rank1_batch.storage.store import Store, open_store, write_bytes
from rank1_batch.versions import find_versions

MOST_EXPORT_BUCKETS = 256

PROBLEMS_SHOWN = 10

LABELS_EXTRA = ("sklearn", "matplotlib")

GRADED_COLUMNS = [QUERY_ID, DOC_ID, LABEL, TRUE_LOGPROB, FALSE_LOGPROB, SCORE, FINISH]


class _Work(NamedTuple):
    """Everything an export works on, already checked."""

    config: ExportConfig
    judgments: Judgments
    texts: Texts | None
    grades: GradeTable
    labels: Store


def run_export(config: ExportConfig) -> tuple[dict[str, Any], bool]:
    """Write the labels. Returns the content of `labels.json`, and whether it existed before."""
    check_packages()
    work = _open(config)
    claim = build_claim(config, work.judgments, work.grades)
    report = check_labels(work.labels, claim)
    if report is not None:
        return report, True
    return _export(work, claim), False


def check_packages() -> None:
    """Raises SettingsError if the extra `labels` is not installed."""
    missing = [name for name in LABELS_EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsError([f"jobs.export needs {', '.join(missing)}; run: pip install 'rank1-batch[labels]'"])


def _open(config: ExportConfig) -> _Work:
    judgments = open_judgments(config.output.path)
    check_job(config, judgments.fingerprint)
    texts, grades = open_texts(config, judgments), read_grades(config)
    return _Work(config, judgments, texts, grades, open_store(config.labels.path))


def _export(work: _Work, claim: dict[str, Any]) -> dict[str, Any]:
    total = sum(unit.pairs for unit in work.judgments.units)
    buckets = min(max(1, -(-total // work.config.labels.shard_rows)), MOST_EXPORT_BUCKETS)
    with scratch_folder() as folder:
        tables = read_judged(work.judgments, work.texts, _more_columns(work.config))
        paths = deal_rows(tables, QUERY_ID if work.texts is None else QUERY, folder, buckets)
        _check_values(work, paths)
        graded = _gather_graded(work, paths)
        calibration = _find_calibration(work.config, graded)
        # This is the first write. Everything that can be checked before has been checked.
        write_claim(work.labels, EXPORT, claim)
        totals = Totals()
        for number, path in enumerate(paths):
            _write_bucket(work, number, path, calibration, totals)
    totals.check(total)
    return _report(work, claim, totals, graded, calibration)


def _check_values(work: _Work, paths: Sequence[Path]) -> None:
    """Raises SettingsError for values in the judgments that cannot become a label or a part of a format."""
    given, problems = given_from(work.config), list[str]()
    checks: dict[str, Callable[[str], list[str]]] = {}
    if "qrels" in format_names(work.config):
        checks |= {QUERY_ID: check_qrels_id, DOC_ID: check_qrels_id}
    if given is not None and given != QRELS:
        checks[given] = partial(_check_given, given)
    for table in read_buckets(paths if checks else (), list(checks)):
        for name, check in checks.items():
            values = table[name].unique().drop_null().to_pylist()
            problems += [problem for value in values for problem in check(value)]
    if problems:
        raise SettingsError(problems[:PROBLEMS_SHOWN])


def _check_given(name: str, value: object) -> list[str]:
    try:
        read_given(value, 0)
    except ValueError:
        return [f"the kept column {name} has {value!r}, but a label must be true, false or a number"]
    return []


def _more_columns(config: ExportConfig) -> list[str]:
    """Columns of the judgments that these settings need in addition to the usual ones."""
    given = given_from(config)
    traces = [TRACE] if any(FORMATS[name].needs_trace for name in format_names(config)) else []
    return traces + ([given] if given not in (None, QRELS) else [])


def _gather_graded(work: _Work, paths: Sequence[Path]) -> Graded:
    """The judged pairs that people have graded and whose reasoning ended as `labels.finishes` asks.

    A pair that is there twice counts once, with its better score, as in the choice of labels.
    """
    labels, text = work.config.labels, QUERY_ID if work.texts is None else QUERY
    best: dict[tuple[str, str], tuple[str, bool, float, float, bool]] = {}
    for table in read_buckets(paths if work.grades else (), list(dict.fromkeys([*GRADED_COLUMNS, text]))):
        columns = (table[name].to_pylist() for name in (QUERY_ID, DOC_ID, text, LABEL, SCORE, FINISH))
        for *pair, query, label, score, finish, log_odds in zip(*columns, find_log_odds(table), strict=True):
            key = (pair[0], pair[1])
            grade = work.grades.get(key)
            if grade is None or score is None or finish not in labels.finishes:
                continue
            if key not in best or score > best[key][3]:
                best[key] = (query, label, float(log_odds), score, grade >= labels.min_relevance)
    return build_graded(list(best.values()))


def _find_calibration(config: ExportConfig, graded: Graded) -> Calibration | None:
    if config.trust.calibration == "none":
        return None
    fit, report = split_graded(graded, config.trust.fit_share, config.labels.seed)
    return fit_calibration(config.trust.calibration, fit, report)


def _write_bucket(work: _Work, number: int, path: Path, calibration: Calibration | None, totals: Totals) -> None:
    """Write the shards of one bucket, one for each format and split."""
    table = read_bucket(path)
    if table is None:
        return
    labels = work.config.labels
    style = _build_style(work)
    shards: dict[tuple[str, str], Shard] = {}
    for chosen in choose_queries(table, build_rules(work.config), calibration, _find_given(work)):
        query = chosen.query
        split = DEV if is_dev(query.text, labels.dev_share, labels.seed) else TRAIN
        totals.add_query(chosen, split, work.grades)
        for name in format_names(work.config) if query.examples else ():
            shard = shards.setdefault((name, split), Shard(name, split, number, style))
            scored = query.in_log_odds() if find_scale(work.config, name) is ScoreScale.LOG_ODDS else query
            shard.add(query.query_id, totals.keep_first(name, FORMATS[name].build(scored, style)))
    for (name, split), shard in shards.items():
        shard.put(work.labels)
        totals.add_file(name, split, shard.records)


def _build_style(work: _Work) -> Style:
    labels, prompt = work.config.labels, work.judgments.fingerprint["prompt"]
    return Style(labels.targets == "score", labels.prompt, prompt["template"], prompt["dataset_prompt"])


def _find_given(work: _Work) -> Given:
    name, least = given_from(work.config), work.config.labels.min_relevance
    if name is None:
        return lambda _: None
    return given_by_grades(work.grades, least) if name == QRELS else given_by_column(name, least)


def _report(
    work: _Work, claim: dict[str, Any], totals: Totals, graded: Graded, calibration: Calibration | None
) -> dict[str, Any]:
    """Write the card, the picture and, last, `labels.json`."""
    labels, trust = work.config.labels, work.config.trust
    calibrated = None if calibration is None else calibration.probability
    exported = [
        (text, label, 0.0, 0.0, work.grades[query_id, doc_id] >= labels.min_relevance)
        for query_id, doc_id, text, label in totals.labels
    ]
    report = {
        **totals.describe(),
        "rows_not_judged": sum(unit.pairs for unit in work.judgments.missing),
        "trust": describe_trust(graded, build_graded(exported), calibrated, trust, labels.seed)
        if work.grades
        else None,
        "scales": {name: find_scale(work.config, name) for name in format_names(work.config)},
        **claim,
        **describe_judging(work.judgments),
        "versions": find_versions(),
    }
    write_bytes(work.labels, PICTURE_PATH, draw_picture(report))
    write_bytes(work.labels, CARD_PATH, render_card(report).encode())
    write_report(work.labels, report)
    return report

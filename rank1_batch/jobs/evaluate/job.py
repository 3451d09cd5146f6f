"""The job: read the orders and the grades, measure, and write the report."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

from rank1_batch.collection.lists import Documents, read_document_lists
from rank1_batch.collection.qrels import read_qrels
from rank1_batch.errors import BadFileError, SettingsError
from rank1_batch.jobs.evaluate.groups import Aggregate, filter_queries, find_groups, group_values
from rank1_batch.jobs.evaluate.instructions import InstructionScore, find_changed, score_instructions, split_forms
from rank1_batch.jobs.evaluate.orders import Ranking, read_labels, read_ranking
from rank1_batch.jobs.evaluate.report import Evaluation, Queries, build_json, build_per_query
from rank1_batch.jobs.evaluate.settings import EvaluateConfig, ReportConfig, ranking_source
from rank1_batch.measuring.agreement import count_agreement
from rank1_batch.measuring.comparison import compare
from rank1_batch.measuring.measures import Order, Qrels, measure_order, parse_measures, share_unjudged
from rank1_batch.storage.parquet import to_parquet
from rank1_batch.storage.store import open_store, write_bytes

JSON_PATH, PER_QUERY_PATH = "evaluation.json", "per_query.parquet"

IDS_TOLD = 3

T = TypeVar("T")


def run_evaluations(config: EvaluateConfig) -> dict[str, Evaluation]:
    """An evaluation for each set of grades, by its name. Without names there is one, under the empty name.

    With names each report goes into a folder of its own under `report.path`.
    """
    if not config.named_qrels:
        return {"": run_evaluation(config)}
    path = config.report.path
    return {
        name: run_evaluation(
            replace(config, qrels=qrels, report=ReportConfig(None if path is None else f"{path}/{name}"))
        )
        for name, qrels in config.named_qrels.items()
    }


def run_evaluation(config: EvaluateConfig) -> Evaluation:
    """Read and measure. Writes the report if `report.path` is given."""
    found = _evaluate(config, *_read(config))
    if config.report.path is not None:
        store = open_store(config.report.path)
        write_bytes(store, PER_QUERY_PATH, to_parquet(build_per_query(found)))
        write_bytes(store, JSON_PATH, json.dumps(build_json(found), indent=2).encode())
    return found


class _Changed(NamedTuple):
    """What is known of changed instructions: the order after it, the grades after it, and the changed documents."""

    order: Order | None
    qrels: Qrels | None
    documents: Documents | None


def _read(config: EvaluateConfig) -> tuple[Ranking, Order | None, Qrels, _Changed]:
    """The order, the first stage's order, the grades, and what is known of changed instructions.

    Raises SettingsError that lists what is wrong with any of them.
    """
    problems: list[str] = []
    attempt, read_order = _Attempt(problems), partial(read_ranking, form=config.run_format)
    ranking = attempt(read_order, *ranking_source(config))
    qrels = attempt(read_qrels, "qrels", config.qrels)
    first = attempt(read_order, "first_stage", config.first_stage)
    changed = attempt(read_order, "changed.run", config.changed.run)
    changed_qrels = attempt(read_qrels, "changed.qrels", config.changed.qrels)
    documents = attempt(read_document_lists, "changed.documents", config.changed.documents)
    if ranking and qrels:
        problems += _check_shared("run", ranking.order, qrels)
        problems += _check_shared("first_stage", first.order, qrels) if first else []
    if problems or ranking is None or qrels is None:
        raise SettingsError(problems)
    after = _Changed(changed.order if changed else None, changed_qrels, documents)
    return ranking, first.order if first else ranking.first_stage, qrels, after


class _Attempt:
    """Reads what a setting names, if it is set. Errors are added to `problems`."""

    def __init__(self, problems: list[str]) -> None:
        self._problems = problems

    def __call__(self, read: Callable[[str, Any], T], setting: str, value: Any) -> T | None:
        try:
            return None if value is None else read(setting, value)
        except SettingsError as error:
            self._problems += error.problems
        except BadFileError as error:
            self._problems.append(str(error))
        return None


def _check_shared(setting: str, order: Order, qrels: Qrels) -> list[str]:
    if order.keys() & qrels.keys():
        return []
    ours, theirs = (", ".join(sorted(ids)[:IDS_TOLD]) for ids in (order, qrels))
    return [f"{setting} and qrels share no query: {setting} has {ours}, …; qrels have {theirs}, …"]


def _evaluate(
    config: EvaluateConfig, ranking: Ranking, first: Order | None, all_qrels: Qrels, after: _Changed
) -> Evaluation:
    zero = config.missing_queries == "zero"
    order, qrels = filter_queries(ranking.order, config.queries), filter_queries(all_qrels, config.queries)
    if not qrels:
        raise SettingsError([f"queries={config.queries} is found in no id of a graded query"])
    measured = {query: grades for query, grades in qrels.items() if zero or query in order}
    measures = parse_measures(config.measures)
    ours = measure_order(order, measured, measures)
    before = measure_order(first, measured, measures) if first is not None else None
    if config.group_by is not None:
        groups, how = find_groups(measured, config.group_by), Aggregate(config.aggregate)
        ours = group_values(ours, groups, how)
        before = None if before is None else group_values(before, groups, how)
    threshold = config.relevance_threshold
    return Evaluation(
        comparisons=compare(measures, ours, before),
        ours=ours,
        first=before,
        queries=Queries(
            measured=len(measured),
            missing=len(qrels.keys() - order.keys()),
            without_grades=len(order.keys() - qrels.keys()),
            missing_count_as_zero=zero,
        ),
        unjudged_in_top=share_unjudged(order, measured),
        duplicates=ranking.duplicates,
        agreement=count_agreement(read_labels(ranking.output), qrels, threshold) if ranking.output else None,
        relevance_threshold=threshold,
        instructions=_score_instructions(ranking.order, all_qrels, after, threshold),
        grouped=None if config.group_by is None else (len(next(iter(ours.values()))), config.aggregate),
    )


def _score_instructions(order: Order, qrels: Qrels, after: _Changed, threshold: int) -> InstructionScore | None:
    """p-MRR, if there are orders from before and after the instructions changed.

    The changed documents are those of a given list. Without one they follow from the grades.
    """
    if after.order is not None:
        orders: tuple[Order, Order] = (order, after.order)
        grades = (qrels, after.qrels or {})
    else:
        orders, grades = split_forms(order), split_forms(qrels)
    return score_instructions(*orders, after.documents or find_changed(*grades, threshold))

"""Whose a place of labels is: what decides an export is written first, what came of it last.

Equal claims give equal bytes, so the same command may go on where one was cut short.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from rank1_batch.jobs.export.rows import Grades, Judgments
from rank1_batch.jobs.export.settings import ExportConfig, describe_settings
from rank1_batch.output.claims import Claim, Owner, as_written, check_claim
from rank1_batch.storage.documents import read_document, write_document
from rank1_batch.storage.store import Store

REPORT_PATH = "labels.json"

EXPORT = Owner("jobs.export", "labels.path", "_rank1/export.json")


def build_claim(config: ExportConfig, judgments: Judgments, grades: Grades) -> dict[str, Any]:
    """All that decides what is exported, as it comes back from JSON."""
    units = "\n".join(unit.unit_id for unit in judgments.units)
    graded = json.dumps(sorted(([*pair], grade) for pair, grade in grades.items()))
    claim = {
        "settings": describe_settings(config),
        "judged_with": judgments.fingerprint,
        "judged_again": judgments.again,
        "units": {"count": len(judgments.units), "hash": _hash(units)},
        "qrels": None if config.qrels is None else {"pairs": len(grades), "hash": _hash(graded)},
    }
    return as_written(claim)


def check_labels(labels: Store, claim: Claim) -> dict[str, Any] | None:
    """The report of this very export if it is there. Raises RefusedError where the folder holds anything else."""
    return read_document(labels, REPORT_PATH, dict[str, Any]) if check_claim(labels, EXPORT, claim) else None


def write_report(labels: Store, report: Mapping[str, Any]) -> None:
    """Put `labels.json`, whose existence says that all other files are there."""
    write_document(labels, REPORT_PATH, report)


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

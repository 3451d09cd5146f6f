"""Marks a folder of labels as belonging to one export. The claim is written first and the report last.

A claim holds everything that decides what is exported. Equal claims give equal bytes, so the same command can
finish an export that was interrupted.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from rank1_batch.jobs.export.rows import GradeTable, Judgments
from rank1_batch.jobs.export.settings import ExportConfig, describe_settings
from rank1_batch.output.claims import Claim, Owner, as_written, check_claim
from rank1_batch.storage.documents import read_document, write_document
from rank1_batch.storage.store import Store

REPORT_PATH = "labels.json"

EXPORT = Owner("jobs.export", "labels.path", "_rank1/export.json")


def build_claim(config: ExportConfig, judgments: Judgments, grades: GradeTable) -> dict[str, Any]:
    """Everything that decides what is exported, in the form in which JSON returns it."""
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
    """The report, if this same export has already finished. Raises RefusedError if the folder holds anything else."""
    return read_document(labels, REPORT_PATH, dict[str, Any]) if check_claim(labels, EXPORT, claim) else None


def write_report(labels: Store, report: Mapping[str, Any]) -> None:
    """Write `labels.json`. If it exists, all other files exist too."""
    write_document(labels, REPORT_PATH, report)


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

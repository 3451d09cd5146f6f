"""Whose a place of labels is: what decides an export is written first, what came of it last.

Equal claims give equal bytes, so the same command may go on where one was cut short.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rank1_batch.errors import RefusedError
from rank1_batch.jobs.export.rows import Grades, Judgments
from rank1_batch.jobs.export.settings import ExportConfig, describe_settings
from rank1_batch.output.fingerprint import list_differences
from rank1_batch.storage.store import Store, create_bytes, list_files, read_bytes, write_bytes

CLAIM_PATH, REPORT_PATH = "_rank1/export.json", "labels.json"


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
    return dict(json.loads(_to_json(claim)))


def check_labels(labels: Store, claim: Mapping[str, Any]) -> dict[str, Any] | None:
    """The report of this very export if it is there. Raises RefusedError where the place holds anything else."""
    found = read_bytes(labels, CLAIM_PATH)
    if found is None:
        others = [file.path for file in list_files(labels) if not Path(file.path).name.startswith(".")]
        if others:
            raise RefusedError(f"{labels.url} holds files of no export of ours ({others[0]}, …): choose an empty place")
        return None
    differing = list_differences(json.loads(found), claim)
    if differing:
        lines = "\n".join(differing)
        raise RefusedError(f"{labels.url} holds another export.\n{lines}\nUse these settings, or another labels.path.")
    report = read_bytes(labels, REPORT_PATH)
    return None if report is None else dict(json.loads(report))


def claim_labels(labels: Store, claim: Mapping[str, Any]) -> None:
    """Write what decides the export, unless it is there. Raises RefusedError if another one was faster."""
    if not create_bytes(labels, CLAIM_PATH, _to_json(claim)):
        check_labels(labels, claim)


def write_report(labels: Store, report: Mapping[str, Any]) -> None:
    """Put `labels.json`, whose existence says that all other files are there."""
    write_bytes(labels, REPORT_PATH, _to_json(report))


def _to_json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode()


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

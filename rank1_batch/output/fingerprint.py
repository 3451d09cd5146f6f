"""_rank1/job.json: what affects the scores of an output. A run with another fingerprint may not continue it.

Knows nothing about Ray or engines.
"""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rank1_batch.errors import RefusedError
from rank1_batch.output.claims import Claim, Owner, check_claim, read_claim, write_claim
from rank1_batch.output.commits import committed_units
from rank1_batch.output.layout import JOB_PATH, KEPT_FOLDER
from rank1_batch.output.lease import read_lease
from rank1_batch.settings import PromptConfig, RerankConfig
from rank1_batch.storage.documents import write_document
from rank1_batch.storage.store import Store, list_files

RERANK = Owner("jobs.rerank", "output.path", JOB_PATH)

RULES_VERSION = 1
"""Counts up when this package changes how a prompt is built, reasoning is closed or a score is computed."""


def build_fingerprint(config: RerankConfig) -> dict[str, Any]:
    """All settings that can change a score, by their names; readable and comparable."""
    model = asdict(config.model)
    model["weights"] = _hash_local_model(config.model.name)
    if model["weights"]:
        model["name"] = Path(config.model.name).name
    return {
        "rules": RULES_VERSION,
        "model": model,
        "engine": {"kind": config.engine.kind, "args": dict(config.engine.args)},
        "prompt": asdict(config.prompt),
        "policy": {"kind": str(config.policy.kind), "max_thinking_tokens": config.policy.max_thinking_tokens},
        "columns": dict(config.input.columns),
        "keep": list(config.input.keep),
    }


def name_prompt(prompt: PromptConfig) -> dict[str, Any]:
    """What the output says of its prompt; all of it is in `_rank1/job.json`."""
    return {"id": prompt.id, "version": prompt.version}


def check_output(store: Store, fingerprint: Claim, *, fresh: bool) -> None:
    """Raises RefusedError unless the output is empty or holds the same job's work; writes nothing.

    With `fresh` it must be empty.
    """
    if check_claim(store, RERANK, fingerprint) and fresh:
        raise RefusedError(f"{store.url} holds a job already. run.fresh=true starts in an empty folder only.")


def is_abandoned(store: Store) -> bool:
    """Whether a job ended here before it judged anything: its settings and its plan may be replaced.

    A lease that is still there means that the job was killed. Its replicas may commit units for some seconds more.
    """
    if read_claim(store, RERANK) is None or read_lease(store) is not None:
        return False
    return not committed_units(store) and not list_files(store, KEPT_FOLDER)


def claim_output(store: Store, fingerprint: Claim) -> None:
    """Write what affects the scores, unless it is there. Raises RefusedError if another job was faster."""
    write_claim(store, RERANK, fingerprint)


def reclaim_output(store: Store, fingerprint: Claim) -> None:
    """Write what affects the scores in place of what an abandoned job wrote. For the holder of the lease."""
    if committed_units(store):
        check_output(store, fingerprint, fresh=False)
    write_document(store, JOB_PATH, fingerprint)


def _hash_local_model(name: str) -> str | None:
    """A hash of a local model's configuration and the sizes of its weights; None for a model of a hub."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        if file.suffix == ".json" and file.stat().st_size < 1 << 20:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]

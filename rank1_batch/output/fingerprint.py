"""What a run leaves in its output besides rows: what shaped the scores, and the plan.

`_rank1/job.json` is the fingerprint, `_rank1/units.parquet` the plan, and the existence of
`judgments/<unit_id>.parquet` the commit. Knows nothing about Ray or engines.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rank1_batch.errors import RefusedError
from rank1_batch.output.layout import JOB_PATH
from rank1_batch.settings import PromptConfig, RerankConfig
from rank1_batch.storage.store import Store, create_bytes, list_files, read_bytes

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


def check_output(store: Store, fingerprint: Mapping[str, Any], *, fresh: bool) -> None:
    """Raises RefusedError unless the output is empty or holds the same job's work; writes nothing.

    Refused are another job's output, with the settings that differ, files of no job at all, and
    anything at all where `fresh` asks for an empty place.
    """
    found = read_bytes(store, JOB_PATH)
    if found is None:
        files = [file.path for file in list_files(store)]
        others = [path for path in files if not path.startswith("_rank1/") and not Path(path).name.startswith(".")]
        if JOB_PATH in files:  # another run of this job began just now
            check_output(store, fingerprint, fresh=fresh)
        elif others:
            raise RefusedError(f"{store.url} holds files of no job of ours ({others[0]}, …): choose an empty place")
    elif fresh:
        raise RefusedError(f"{store.url} holds a job already; run.fresh=true starts in an empty place only")
    else:
        check_same_job(store.url, json.loads(found), _plain(fingerprint))


def claim_output(store: Store, fingerprint: Mapping[str, Any]) -> None:
    """Write what shapes the scores, unless it is there. Raises RefusedError if another job was faster."""
    if not create_bytes(store, JOB_PATH, json.dumps(fingerprint, indent=2, sort_keys=True).encode()):
        check_output(store, fingerprint, fresh=False)


def check_same_job(url: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raises RefusedError with every setting that differs, unless none does."""
    if differing := list_differences(old, new):
        lines = "\n".join(differing)
        raise RefusedError(
            f"{url} was judged with other settings; its scores and yours would not compare.\n{lines}\n"
            "Use the settings there, or another output.path."
        )


def list_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The settings that differ between two fingerprints, an indented line each."""
    before, after = _flat(old), _flat(new)
    return [
        f"  {key}: {before.get(key)!r} there, {after.get(key)!r} now"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _plain(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """The fingerprint as it comes back from JSON."""
    return dict(json.loads(json.dumps(fingerprint)))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


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

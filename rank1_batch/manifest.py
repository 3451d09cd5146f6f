"""What a run leaves in its output besides rows: what shaped the scores, and the plan.

`_rank1/job.json` is the fingerprint, `_rank1/units.parquet` the plan, and the existence of
`judgments/<unit_id>.parquet` the commit. Knows nothing about Ray or engines.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from rank1_batch.config import PromptConfig, RerankConfig
from rank1_batch.errors import RefusedError
from rank1_batch.storage import Store, create_bytes, delete_file, list_files, read_bytes, write_bytes
from rank1_batch.units import Unit

JOB_PATH, PLAN_PATH = "_rank1/job.json", "_rank1/units.parquet"
SETTINGS_PATH, GENERATIONS_PATH = "_rank1/settings.json", "_rank1/generations.json"
DEATHS_FOLDER, JUDGMENTS_FOLDER = "_rank1/deaths", "judgments"
FIRST_STAGES_PATH = "_rank1/first_stages.json"
SUMMARY_PATH, SUCCESS_PATH = "summary.json", "_SUCCESS"
RULES_VERSION = 1
"""Counts up when this package changes how a prompt is built, reasoning is closed or a score is computed."""

COUNTS_KEY, PROMPT_KEY, GENERATION_KEY = b"rank1_batch", b"rank1_batch.prompt", b"rank1_batch.generation"
"""Keys of the Parquet metadata: a unit's Counts, the id and version of the prompt, how often it was judged again."""


class Counts(NamedTuple):
    """What was counted over judged rows; adds up over units. Tokens are those that were asked for.

    What a later version counts is 0 in units that an earlier one committed.
    """

    rows: int = 0
    errors: int = 0
    complete: int = 0
    closed: int = 0
    truncated: int = 0
    true_labels: int = 0
    prompt_tokens: int = 0
    trace_tokens: int = 0
    saturated: int = 0
    stray: int = 0


def add_counts(a: Counts, b: Counts) -> Counts:
    """The counts of both together."""
    return Counts(*(x + y for x, y in zip(a, b, strict=True)))


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


def read_plan(store: Store) -> list[Unit]:
    """The units of the plan, in order; none if there is no plan yet."""
    data = read_bytes(store, PLAN_PATH)
    return [] if data is None else [Unit(**row) for row in pq.read_table(pa.BufferReader(data)).to_pylist()]


def write_plan(store: Store, units: Sequence[Unit]) -> None:
    """Put the whole plan, in place of an earlier and shorter one."""
    columns = {name: [getattr(unit, name) for unit in units] for name in Unit._fields}
    write_bytes(store, PLAN_PATH, to_parquet(pa.table(columns)))


def read_first_stages(store: Store) -> list[Any]:
    """Which runs the planned pairs came from, as far as their files say so (`jobs.prepare` writes it)."""
    return list(json.loads(read_bytes(store, FIRST_STAGES_PATH) or b"[]"))


def write_first_stages(store: Store, first_stages: Sequence[Any]) -> None:
    """Put them all, in place of fewer."""
    write_bytes(store, FIRST_STAGES_PATH, json.dumps(first_stages, indent=2).encode())


def judgments_path(unit_id: str) -> str:
    """Where the judgments of a unit are committed."""
    return f"{JUDGMENTS_FOLDER}/{unit_id}.parquet"


def committed_units(store: Store) -> set[str]:
    """Ids of the units whose judgments are there."""
    return {Path(file.path).stem for file in list_files(store, JUDGMENTS_FOLDER) if file.path.endswith(".parquet")}


def commit_unit(store: Store, unit: Unit, judgments: pa.Table, counts: Counts, generation: int = 0) -> bool:
    """Put a unit's judgments: True if this call did it, False if another one was first.

    The file's metadata are the table's own, the counts and the generation. A later generation replaces
    the one before it, in one step. Raises RuntimeError where the number of rows is not the plan's: a bug,
    and nothing is put.
    """
    if len(judgments) != unit.pairs:
        raise RuntimeError(f"unit {unit.unit_id}: {len(judgments)} judgments for {unit.pairs} pairs")
    own = {COUNTS_KEY: json.dumps(counts._asdict()), GENERATION_KEY: str(generation)}
    data = to_parquet(judgments.replace_schema_metadata({**(judgments.schema.metadata or {}), **own}))
    if generation == 0:
        return create_bytes(store, judgments_path(unit.unit_id), data)
    write_bytes(store, judgments_path(unit.unit_id), data)
    return True


def find_committed(store: Store, unit: Unit) -> Counts | None:
    """The counts of a unit whose judgments are there; None where they are not."""
    data = read_bytes(store, judgments_path(unit.unit_id))
    return None if data is None else read_counts(pq.read_metadata(pa.BufferReader(data)))


def read_counts(footer: pq.FileMetaData) -> Counts:
    """The counts that were put with a unit's judgments."""
    return Counts(**json.loads(footer.metadata[COUNTS_KEY]))


def read_generation(metadata: Mapping[bytes, bytes] | None) -> int:
    """Which generation of its judgments a unit's Parquet file holds; 0 where no row was judged again."""
    return int((metadata or {}).get(GENERATION_KEY, 0))


def record_deaths(store: Store, unit_ids: Sequence[str], name: str) -> None:
    """Note that an engine died while it judged these units. `name` tells deaths apart."""
    for unit_id in unit_ids:
        write_bytes(store, f"{DEATHS_FOLDER}/{unit_id}/{name}", b"")


def count_deaths(store: Store) -> dict[str, int]:
    """How many engines died while they judged a unit, by its id."""
    counts: dict[str, int] = {}
    for file in list_files(store, DEATHS_FOLDER):
        unit_id = Path(file.path).parent.name
        counts[unit_id] = counts.get(unit_id, 0) + 1
    return counts


def clear_deaths(store: Store, unit_ids: Sequence[str]) -> None:
    """Forget the engines that died while they judged these units."""
    cleared = set(unit_ids)
    for file in list_files(store, DEATHS_FOLDER):
        if Path(file.path).parent.name in cleared:
            delete_file(store, file.path)


def to_parquet(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


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

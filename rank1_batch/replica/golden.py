"""The golden set: pairs with known scores, and the check that a replica gives the same scores.

Each pair has its reasoning. Only the verdict after this reasoning is compared, not the reasoning. One
token that the engine's noise changes gives another trace, and rightly another score. The verdict after a
given trace changes only by noise and costs one short request. It depends on all that can go wrong:
weights, quantisation, kernels, tensor parallelism, tokenizer and prompt.

Knows nothing about Ray or engines.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from rank1_batch.columns import (
    DOC_ID,
    FINISH,
    INSTRUCTION,
    PASSAGE,
    PROMPT_TOKENS,
    QUERY,
    QUERY_ID,
    SCORE,
    TITLE,
    TRACE,
    TRACE_TOKENS,
)
from rank1_batch.errors import GoldenError, RefusedError, SettingsError
from rank1_batch.judging.records import Finish, Judgment, Pair
from rank1_batch.output.claims import list_differences
from rank1_batch.settings import GoldenConfig
from rank1_batch.storage.parquet import to_parquet
from rank1_batch.storage.store import create_bytes, open_store, read_bytes
from rank1_batch.versions import compare_versions, find_versions

MADE_WITH_KEY = b"rank1_batch_golden"
"""Key of the Parquet metadata that holds the fingerprint and the versions of the run, as JSON."""

GOLDEN_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in (QUERY_ID, DOC_ID, QUERY, PASSAGE, TITLE, INSTRUCTION, FINISH, TRACE)),
        (SCORE, pa.float64()),
        (PROMPT_TOKENS, pa.int32()),
        (TRACE_TOKENS, pa.int32()),
    ]
)


class GoldenPair(NamedTuple):
    """A pair, its reasoning and its score. The token counts show whether it is still tokenised in the same way."""

    query_id: str
    doc_id: str
    query: str
    passage: str
    title: str | None
    instruction: str | None
    finish: str
    trace: str | None
    score: float
    prompt_tokens: int
    trace_tokens: int


class GoldenSet(NamedTuple):
    """The pairs, with the `fingerprint` and the `versions` of the run that made them."""

    pairs: tuple[GoldenPair, ...]
    fingerprint: dict[str, Any]
    versions: dict[str, str]


def read_golden(path: str, fingerprint: Mapping[str, Any]) -> GoldenSet:
    """The golden set of a file. Raises SettingsError if there is none, or if it is for another job."""
    golden = _read(path)
    differing = list_differences(_for_whom(golden.fingerprint), _for_whom(fingerprint))
    if differing:
        raise SettingsError(["\n".join([f"golden.path: {path} was made for another job", *differing])])
    return golden


def write_golden(path: str, golden: GoldenSet) -> None:
    """Write a golden set. Raises RefusedError if the file exists: expected scores are never overwritten."""
    made_with = json.dumps({"fingerprint": golden.fingerprint, "versions": golden.versions})
    table = pa.Table.from_pylist([pair._asdict() for pair in golden.pairs], GOLDEN_SCHEMA)
    if not create_bytes(open_store(path), "", to_parquet(table.replace_schema_metadata({MADE_WITH_KEY: made_with}))):
        raise RefusedError(f"golden.path: {path} exists already; choose another name, or remove it")


def check_scores(golden: GoldenSet, judgments: Sequence[Judgment], settings: GoldenConfig, node: str) -> None:
    """Raises GoldenError that lists every pair for which a replica's score differs from the set."""
    differences = compare_scores(golden, judgments, settings.tolerance)
    if not differences:
        return
    versions = ", ".join(compare_versions(golden.versions, find_versions()))
    told = "\n".join(f"  {difference}" for difference in differences)
    raise GoldenError(
        f"the replica on node {node[:12]} failed the check with the golden set {settings.path} "
        f"(golden.tolerance={settings.tolerance:g}) and was stopped before judging:\n{told}\n"
        f"{f'The set was made with other versions: here {versions}. ' if versions else ''}Weights, quantisation, "
        "kernels or tensor parallelism may differ from the run that made the set. If this is intended, "
        "judge some pairs again and make a new set of them: python -m jobs.golden"
    )


def compare_scores(golden: GoldenSet, judgments: Sequence[Judgment], tolerance: float) -> list[str]:
    """The differences in the judgments of the golden pairs, one sentence for each pair. Empty if they agree."""
    together = list(zip(golden.pairs, judgments, strict=True))
    if not any(_can_compare(pair, judgment) for pair, judgment in together):
        return ["no trace of the set is tokenised as it was generated; check that the tokenizer is the same"]
    found = (_find_difference(pair, judgment, tolerance) for pair, judgment in together)
    return [difference for difference in found if difference]


def given_traces(golden: GoldenSet) -> list[tuple[Pair, str | None, bool]]:
    """The golden pairs as a replica judges them: pair, trace, whether it is complete."""
    return [
        (Pair(pair.query, pair.passage, pair.title, pair.instruction), pair.trace, pair.finish == Finish.COMPLETE)
        for pair in golden.pairs
    ]


def _read(path: str) -> GoldenSet:
    data = read_bytes(open_store(path), "")
    if data is None:
        raise SettingsError([f"golden.path: {path}: there is no such file; python -m jobs.golden makes one of a run"])
    try:
        table = pq.read_table(pa.BufferReader(data))
        made_with = json.loads((table.schema.metadata or {})[MADE_WITH_KEY])
        pairs = tuple(GoldenPair(**row) for row in table.select(GOLDEN_SCHEMA.names).cast(GOLDEN_SCHEMA).to_pylist())
    except (pa.ArrowInvalid, KeyError) as error:
        raise SettingsError([f"golden.path: {path} is no golden set of jobs.golden: {error}"]) from error
    return GoldenSet(pairs, made_with["fingerprint"], made_with["versions"])


def _for_whom(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """What a set and a job must have in common. The set exists to check everything else that affects scores."""
    return {
        "rules": fingerprint["rules"],
        "model": {"name": str(fingerprint["model"]["name"]).rstrip("/").rpartition("/")[2]},
        "prompt": fingerprint["prompt"],
        "policy": {"kind": fingerprint["policy"]["kind"]},
    }


def _can_compare(pair: GoldenPair, judgment: Judgment) -> bool:
    """Whether the verdict follows the same tokens. Unusual generated tokens can change when their text is tokenised."""
    return bool(judgment.error) or pair.finish != Finish.COMPLETE or judgment.trace_tokens == pair.trace_tokens


def _find_difference(pair: GoldenPair, judgment: Judgment, tolerance: float) -> str | None:
    where = f"{pair.query_id}/{pair.doc_id}"
    if judgment.score is None:
        return f"{where}: score {pair.score:.4f} expected, but {judgment.error}"
    if judgment.prompt_tokens != pair.prompt_tokens:
        return f"{where}: a prompt of {pair.prompt_tokens} tokens expected, {judgment.prompt_tokens} got"
    if not _can_compare(pair, judgment) or abs(judgment.score - pair.score) <= tolerance:
        return None
    return f"{where}: score {pair.score:.4f} expected, {judgment.score:.4f} got"

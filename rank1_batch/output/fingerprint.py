"""_rank1/job.json: what affects the scores of an output. A run with another fingerprint may not continue it.

Knows nothing about Ray. About engines it knows only which checkpoint they load.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from rank1_batch.engines.checkpoint import Commit, find_commit, find_folder, hash_folder
from rank1_batch.errors import RefusedError
from rank1_batch.output.claims import Claim, Owner, check_claim, read_claim, write_claim
from rank1_batch.output.commits import committed_units
from rank1_batch.output.layout import JOB_PATH, KEPT_FOLDER
from rank1_batch.output.lease import LEASE_PATH
from rank1_batch.settings import SCRIPTED, VLLM, EngineConfig, PromptConfig, ReaderConfig, RerankConfig, build_reader
from rank1_batch.storage.documents import write_document
from rank1_batch.storage.store import Store, list_files, stat_file

RERANK = Owner("jobs.rerank", "output.path", JOB_PATH)

RULES_VERSION = 1
"""Increased when this package changes how a prompt is built, how reasoning is closed, or how a score is computed."""

DRY_RUN_TAG, UNKNOWN_TAG = "DRY_RUN", "rank1_batch"


class Judge(NamedTuple):
    """The model, its revision, the kind of the engine and the policy of a job."""

    model: str
    revision: str | None
    engine: str
    policy: str

    @property
    def is_dry_run(self) -> bool:
        """Whether the engine made up its answers, without a model."""
        return self.engine == SCRIPTED


ARGS_WITHOUT_EFFECT = frozenset({
    # The memory for the cache of prompts. It must be possible to change it after an out-of-memory error.
    "gpu_memory_utilization", "kv_cache_memory_bytes", "num_gpu_blocks_override", "kv_offloading_size",
    "kv_offloading_backend",
    # How weights get from a disk or the hub into memory.
    "download_dir", "safetensors_load_strategy", "safetensors_prefetch_num_threads", "safetensors_prefetch_block_size",
    "max_parallel_loading_workers", "use_tqdm_on_load",
    # Where processes of one engine find each other, and how long they wait.
    "master_addr", "master_port", "data_parallel_address", "data_parallel_rpc_port", "distributed_timeout_seconds",
    "cpu_distributed_timeout_seconds", "shutdown_timeout",
    # What is logged and measured.
    "disable_log_stats", "aggregate_engine_logging", "log_level", "log_config_file", "logging_config",
    "otlp_traces_endpoint", "collect_detailed_traces", "show_hidden_metrics_for_version", "kv_cache_metrics",
    "kv_cache_metrics_sample", "cudagraph_metrics", "enable_layerwise_nvtx_tracing", "enable_mfu_metrics",
    "enable_logging_iteration_details", "served_model_name",
})  # fmt: skip
"""Arguments of vLLM 0.32 that cannot change a score, so that another run of a job may have other values."""

ENV_WITHOUT_EFFECT = frozenset({
    # Memory, cores and cards of one machine.
    "VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_NUM_OF_RESERVED_CPU", "CUDA_VISIBLE_DEVICES",
    # Where models are found, and where things are kept.
    "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT", "VLLM_CACHE_ROOT", "TMPDIR",
    # What is logged.
    "VLLM_LOGGING_LEVEL", "VLLM_CONFIGURE_LOGGING", "NCCL_DEBUG",
})  # fmt: skip
"""Environment variables of replicas that cannot change a score."""

SECRET = re.compile(r"token|key|secret|password|credential", re.IGNORECASE)
"""Variables with such names are not in the fingerprint, so that not even a hash of a secret is written."""


def build_fingerprint(config: RerankConfig, commit: str | None = None) -> dict[str, Any]:
    """All settings that can change a score, by name.

    `commit` is the commit that `model.revision` means, for a model of the hub.
    """
    model, folder = asdict(config.model), find_folder(config.model)
    model["commit"] = commit
    model["weights"] = hash_folder(folder) if folder else None
    if folder:
        model["name"] = folder.name
    return {
        "rules": RULES_VERSION,
        "model": model,
        "engine": _describe_engine(config.engine),
        "prompt": asdict(config.prompt),
        "reader": asdict(config.reader),
        "policy": {"kind": str(config.policy.kind), "max_thinking_tokens": config.policy.max_thinking_tokens},
        "columns": dict(config.input.columns),
        "keep": list(config.input.keep),
    }


def find_model_commit(config: RerankConfig, claim: Claim | None) -> Commit | None:
    """The commit of the hub that this job uses. None for a folder, and for an engine without a model.

    A job that has begun keeps its commit, even if the branch has moved since. `claim` is the one in its output.
    """
    if config.engine.kind != VLLM or find_folder(config.model):
        return None
    begun = (claim or {}).get("model", {})
    if begun.get("commit") and (begun["name"], begun["revision"]) == (config.model.name, config.model.revision):
        return Commit(begun["commit"], "with which this job was begun")
    return find_commit(config.model)


def _describe_engine(engine: EngineConfig) -> dict[str, Any]:
    """The settings of the engine that can change a score. Environment variables are kept as hashes."""
    env = {name: value for name, value in engine.env.items() if name not in ENV_WITHOUT_EFFECT}
    return {
        "kind": engine.kind,
        "tensor_parallel_size": max(1, engine.gpus),
        "args": {name: value for name, value in engine.args.items() if name not in ARGS_WITHOUT_EFFECT},
        "env": {name: _hash_text(value) for name, value in env.items() if not SECRET.search(name)},
    }


def _hash_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def name_prompt(prompt: PromptConfig) -> dict[str, Any]:
    """What the output says of its prompt. The whole prompt is in `_rank1/job.json`."""
    return {"id": prompt.id, "version": prompt.version}


def name_reader(reader: ReaderConfig) -> dict[str, Any]:
    """What a file of judgments says of its reader. The answers stand in the order of `answer_logprobs`."""
    return {"id": reader.id, "answers": [list(answer) for answer in build_reader(reader).answers]}


def find_judge(fingerprint: Claim) -> Judge | None:
    """The judge of an output, from its `job.json`. None if it does not say."""
    parts: Any = [fingerprint.get(name) for name in ("model", "engine", "policy")]
    if not all(parts):
        return None
    model, engine, policy = parts
    return Judge(model["name"], model["revision"], engine["kind"], policy["kind"])


def tag_run(judge: Judge | None) -> str:
    """The last column of a TREC run, as in `rank1-7b@main,vllm,full`. It has no blanks."""
    if judge is None:
        return UNKNOWN_TAG
    model = Path(judge.model).name
    named = DRY_RUN_TAG if judge.is_dry_run else f"{model}@{judge.revision}" if judge.revision else model
    return re.sub(r"[^\w.@,-]", "_", f"{named},{judge.engine},{judge.policy}", flags=re.ASCII)


def check_output(store: Store, fingerprint: Claim, *, fresh: bool) -> None:
    """Raises RefusedError if the output holds the work of another job. Writes nothing.

    With `fresh` it must be empty.
    """
    if check_claim(store, RERANK, fingerprint) and fresh:
        raise RefusedError(f"{store.url} holds a job already. run.fresh=true starts in an empty folder only.")


def is_abandoned(store: Store) -> bool:
    """Whether a job ended here before it judged anything. Its settings and its plan may then be replaced.

    A lease that is still there means that the job was killed. Its replicas may commit units for some seconds more.
    """
    if read_claim(store, RERANK) is None or stat_file(store, LEASE_PATH) is not None:
        return False
    return not committed_units(store) and not list_files(store, KEPT_FOLDER)


def claim_output(store: Store, fingerprint: Claim) -> None:
    """Write the fingerprint if there is none. Raises RefusedError if another job was faster."""
    write_claim(store, RERANK, fingerprint)


def reclaim_output(store: Store, fingerprint: Claim, seen: Mapping[str, str]) -> None:
    """Write the fingerprint in place of that of an abandoned job. Only the holder of the lease may do this."""
    if committed_units(store):
        check_output(store, fingerprint, fresh=False)
    write_document(store, JOB_PATH, fingerprint, seen)

"""Builds the engine that the settings name."""

import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rank1_batch.errors import ReplicaError
from rank1_batch.judging.readers import Reader
from rank1_batch.judging.records import Engine
from rank1_batch.settings import SCRIPTED, VLLM, EngineConfig, ModelConfig


def has_int4_kernels() -> bool:
    """Whether vLLM can compute in int4 on this CPU."""
    return "avx512f" in Path("/proc/cpuinfo").read_text()


async def build_engine(model: ModelConfig, engine: EngineConfig, reader: Reader) -> Engine:
    """The engine that the settings name, ready to answer. Its verdicts are of the answers of `reader`."""
    return await BUILDERS[engine.kind](model, engine, reader)


async def _build_scripted(model: ModelConfig, engine: EngineConfig, reader: Reader) -> Engine:
    """The scripted engine. On a machine whose name holds `no_start_on` it does not start."""
    from rank1_batch.engines.scripted import ScriptedEngine

    args = dict(engine.args)
    if (unfit := args.pop("no_start_on", None)) and unfit in socket.gethostname():
        raise ReplicaError(f"the scripted engine does not start on {socket.gethostname()}, by its `no_start_on`")
    return ScriptedEngine(model.max_model_len, **args, answers=len(reader.answers))


async def _build_vllm(model: ModelConfig, engine: EngineConfig, reader: Reader) -> Engine:
    from rank1_batch.engines.vllm import build_vllm_engine

    engine_args = {
        "max_num_seqs": engine.max_num_seqs,
        "max_num_batched_tokens": engine.max_num_batched_tokens,
        "tensor_parallel_size": max(1, engine.gpus),
        **engine.args,
    }
    return await build_vllm_engine(name_model_args(model), engine_args, engine.env, reader)


def name_model_args(model: ModelConfig) -> dict[str, Any]:
    """The arguments of vLLM for a checkpoint: a Hugging Face id as it is, a folder in full."""
    args = asdict(model)
    name = args.pop("name")
    return {**args, "model": str(Path(name).expanduser()) if name.startswith("~") else name}


BUILDERS = {VLLM: _build_vllm, SCRIPTED: _build_scripted}
"""The function that builds each kind of engine."""

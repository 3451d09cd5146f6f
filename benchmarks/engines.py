"""The job against a raw engine, the reference's way and ray.data.llm: same prompts, same model, same machine.

    python -m benchmarks.engines            all of them, one after the other, and their ratios
    python -m benchmarks.engines WAY FOLDER one of them, its figures as FOLDER/WAY.json

Each way runs in a process of its own. All of them run in turn, and then once more, because a shared machine can be a
third slower at times. The lower time of each way counts. It goes from the first request to the last answer, without
loading the model. benchmarks.feeding measures what feeding costs.
"""

import asyncio
import json
import logging
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

SLOTS, ROWS_PER_SLOT, PASSAGE_WORDS, NEW_TOKENS = 16, 20, 190, 64
CONTEXT = 512
ROUNDS = 2
ENV = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_NUM_OF_RESERVED_CPU": "0"}
ENGINE: dict[str, Any] = {"max_num_seqs": SLOTS, "max_num_batched_tokens": 2048, "enforce_eager": True}
WAYS = ("raw", "job", "reference", "ray_data_llm")


def main(argv: Sequence[str]) -> None:
    """Run one way, or all."""
    if argv:
        way, folder = argv[0], Path(argv[1])
        (folder / f"{way}.json").write_text(json.dumps(run_way(way, folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_input(folder)
        tries = [(way, run_in_process(way, folder)) for _ in range(ROUNDS) for way in WAYS]
    figures = {way: min((found for name, found in tries if name == way), key=itemgetter("seconds")) for way in WAYS}
    raw = figures["raw"]["seconds"]
    print(f"{SLOTS} slots, {SLOTS * ROWS_PER_SLOT} rows, about 250 + {NEW_TOKENS} tokens")
    print("| way | seconds | tokens/s | against raw |\n|---|---|---|---|")
    for way, found in figures.items():
        rate = found["tokens"] / found["seconds"]
        print(f"| {way} | {found['seconds']:.1f} | {rate:.0f} | {raw / found['seconds']:.3f} |")


def run_in_process(way: str, folder: Path) -> dict[str, Any]:
    """The figures of one way, from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.engines", way, str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"{way} failed:\n{done.stderr[-1500:]}", file=sys.stderr)
        return {"seconds": math.inf, "tokens": math.nan}
    return dict(json.loads((folder / f"{way}.json").read_text()))


def build_input(folder: Path) -> None:
    """A model of random weights that hardly ever closes its reasoning, and pairs in its words, no two alike."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from tests.support.tiny_model import WORDS, build_tokenizer

    tokenizer = build_tokenizer(think_tokens=True)
    tokenizer.save_pretrained(folder / "model")
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=256, intermediate_size=1024, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=None, tie_word_embeddings=False,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(folder / "model")
    chance, rows = random.Random(1), range(SLOTS * ROWS_PER_SLOT)
    words = [" ".join(chance.choices(WORDS, k=PASSAGE_WORDS)) for _ in rows]
    table = pa.table(
        {
            "query_id": [f"q{row // 20}" for row in rows],
            "query": [WORDS[row // 20 % len(WORDS)] for row in rows],
            "doc_id": [str(row) for row in rows],
            "passage": words,
        }
    )
    (folder / "pairs").mkdir()
    pq.write_table(table, folder / "pairs" / "0.parquet")


def run_way(way: str, folder: Path) -> dict[str, Any]:
    """The figures of one way: seconds and tokens."""
    ways: dict[str, Callable[[Path], dict[str, Any]]] = {
        "raw": run_raw, "job": run_job, "reference": run_reference,
        "ray_data_llm": run_ray_data_llm,
    }  # fmt: skip
    return ways[way](folder)


def settings(folder: Path) -> list[str]:
    """The settings of the job that match ENGINE."""
    return [
        "model=custom", f"model.name={folder / 'model'}", f"model.max_model_len={CONTEXT}", "model.dtype=float32",
        "engine=vllm_cpu", f"engine.max_num_seqs={SLOTS}", "engine.env.VLLM_CPU_KVCACHE_SPACE=1",
        f"policy.max_thinking_tokens={NEW_TOKENS}", f"input.path={folder / 'pairs'}",
        f"output.path={folder / 'judged'}", "gates.fail.stray=1",  # its verdicts are as random as its weights
    ]  # fmt: skip


def read_prompts(folder: Path) -> list[str]:
    """The prompts of all rows."""
    import pyarrow.parquet as pq

    from rank1_batch.judging.prompts import RANK1_TEMPLATE

    rows = pq.read_table(folder / "pairs" / "0.parquet").to_pylist()
    return [RANK1_TEMPLATE.format(query=row["query"], passage=row["passage"]) for row in rows]


def run_raw(folder: Path) -> dict[str, Any]:
    """Both requests of every row on an AsyncLLM, all rows enqueued at once."""
    from rank1_batch.engines.vllm import build_vllm_engine
    from rank1_batch.judging.closing import close_reasoning
    from rank1_batch.judging.readers import RANK1

    async def run() -> dict[str, Any]:
        model = {"model": str(folder / "model"), "dtype": "float32", "max_model_len": CONTEXT}
        engine = await build_vllm_engine(model, dict(ENGINE), ENV, RANK1)
        prompts = [engine.encode(prompt) for prompt in read_prompts(folder)]

        async def judge(prompt: list[int]) -> int:
            reasoning = await engine.reason(prompt, NEW_TOKENS)
            end = reasoning.token_ids if reasoning.complete else engine.encode(close_reasoning(reasoning.text))
            await engine.verdict([*prompt, *end])
            return reasoning.tokens

        start = time.monotonic()
        tokens = sum(await asyncio.gather(*map(judge, prompts)))
        seconds = time.monotonic() - start
        await engine.close()
        return {"seconds": seconds, "tokens": tokens}

    return asyncio.run(run())


def run_job(folder: Path) -> dict[str, Any]:
    """The whole job, as a user starts it. Seconds go from the start of the first unit to the last receipt."""
    subprocess.run([sys.executable, "-m", "jobs.rerank", *settings(folder)], check=True, stdout=subprocess.DEVNULL)
    summary = json.loads((folder / "judged" / "summary.json").read_text())
    seconds = summary["this_run"]["seconds"]["judge"]
    return {"seconds": seconds, "tokens": summary["trace_tokens"]}


def run_reference(folder: Path) -> dict[str, Any]:
    """orionw/rank1's way: one generate with 20 logprobs and stop strings, another for the unfinished."""
    import os

    os.environ.update(ENV)
    from vllm import LLM, SamplingParams

    from rank1_batch.judging.closing import close_reasoning

    llm = LLM(str(folder / "model"), dtype="float32", max_model_len=CONTEXT, **ENGINE)
    tokenizer = llm.get_tokenizer()
    verdicts = [tokenizer.encode(word, add_special_tokens=False)[0] for word in (" true", " false")]
    common: dict[str, Any] = {"temperature": 0.0, "logprobs": 20, "skip_special_tokens": False}
    first = SamplingParams(max_tokens=NEW_TOKENS, stop=["</think> true", "</think> false"], **common)
    second = SamplingParams(max_tokens=1, allowed_token_ids=verdicts, **common)
    prompts = read_prompts(folder)
    start = time.monotonic()
    outputs = [request.outputs[0] for request in llm.generate(prompts, first, use_tqdm=False)]
    closed = [
        prompt + close_reasoning(output.text)
        for prompt, output in zip(prompts, outputs, strict=True)
        if not output.logprobs or not set(verdicts) <= output.logprobs[-1].keys()
    ]
    llm.generate(closed, second, use_tqdm=False)
    seconds = time.monotonic() - start
    tokens = sum(len(output.token_ids) for output in outputs)
    return {"seconds": seconds, "tokens": tokens}


def run_ray_data_llm(folder: Path) -> dict[str, Any]:
    """The same two questions by two processors of ray.data.llm, with its own batches and barriers."""
    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    from rank1_batch.judging.closing import close_reasoning

    ray.init(log_to_driver=False, logging_level=logging.ERROR, runtime_env={"env_vars": ENV})
    common = {"temperature": 0.0, "skip_special_tokens": False}

    def build(params: dict[str, Any]) -> Any:
        config = vLLMEngineProcessorConfig(
            model_source=str(folder / "model"),
            engine_kwargs={"dtype": "float32", "max_model_len": CONTEXT, **ENGINE},
            placement_group_config={"bundles": [{"CPU": 1}]},
            chat_template_stage=False, tokenize_stage=False, detokenize_stage=False,
            batch_size=32, concurrency=1, log_engine_metrics=False,
        )  # fmt: skip
        return build_processor(
            config,
            preprocess=lambda row: {"prompt": row["prompt"], "sampling_params": {**common, **params}},
            postprocess=lambda row: {
                "prompt": row["prompt"], "text": row["generated_text"], "tokens": row["num_generated_tokens"],
                "ended": time.time(), "began": time.time() - row["time_taken_llm"],
            },
        )  # fmt: skip

    prompts = read_prompts(folder)
    reason = build({"max_tokens": NEW_TOKENS, "stop": ["</think>"]})
    verdict = build({"max_tokens": 1, "logprobs": 20})
    rows = reason(ray.data.from_items([{"prompt": prompt} for prompt in prompts])).take_all()
    closed = [{"prompt": row["prompt"] + close_reasoning(row["text"])} for row in rows]
    verdicts = verdict(ray.data.from_items(closed)).take_all()
    # Each processor loads an engine: its seconds count from its first request to its last answer.
    spans = [max(row["ended"] for row in part) - min(row["began"] for row in part) for part in (rows, verdicts)]
    return {"seconds": sum(spans), "tokens": sum(row["tokens"] for row in rows)}


if __name__ == "__main__":
    main(sys.argv[1:])

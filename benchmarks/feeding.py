"""CPU time of the process that feeds an engine: ours against the reference's way of asking.

    python -m benchmarks.feeding

Beside a CPU engine such a figure says little: the engine takes both cores and their caches. So here the
engine core is a script that answers at once, one token a step for each of 256 requests, encoded as vLLM
encodes it. All else is vLLM's own front end, and the job's own code: what a GPU would leave to this process.
The script's own time is taken off; the socket between the two processes is not in it.

A token's cost is the slope between traces of 100 and of 300 tokens, a row's is what is left at none.
"""

import asyncio
import gc
import itertools
import math
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from rank1_batch.config import load_config
from rank1_batch.engines.vllm import VllmEngine, build_vllm_engine
from rank1_batch.feeding import Feeder
from rank1_batch.judging import Pair, Policy, PolicyKind
from rank1_batch.parsing import close_reasoning
from rank1_batch.prompts import RANK1_TEMPLATE

NOVELEVAL = Path(__file__).parents[1] / "examples" / "noveleval" / "pairs"
DEMO = ["model=demo_full", "policy.max_thinking_tokens=100"]
SLOTS, CONTEXT = 256, 4096
SHORT, LONG, TRIES = 100, 300, 3
LOGPROBS = 20
WORDS = range(1000, 1100)
"""Token ids that answers are made of: ordinary pieces of words, none of them an end."""
NAMES = itertools.count()
ENGINE = {"max_num_seqs": SLOTS, "max_num_batched_tokens": 8192, "enforce_eager": True}


Way = Callable[[VllmEngine, list[Pair], int], Awaitable[None]]


class AnsweringCore:
    """Stands in for the process that holds the model. Every answer is a word of the vocabulary, but never an end."""

    def __init__(self) -> None:
        from vllm.v1.engine import EngineCoreOutputs
        from vllm.v1.serial_utils import MsgpackDecoder, MsgpackEncoder

        self.own_s = 0.0
        """CPU time that an engine's process would have spent."""
        self.resources = SimpleNamespace(engine_dead=False)
        self._requests, self._outputs = MsgpackEncoder(), MsgpackEncoder()
        self._decoder = MsgpackDecoder(EngineCoreOutputs)
        self._waiting: deque[Any] = deque()
        self._running: dict[str, list[Any]] = {}
        self._arrived = asyncio.Event()

    async def get_supported_tasks_async(self) -> tuple[str, ...]:
        """What the model can do."""
        return ("generate",)

    async def add_request_async(self, request: Any) -> None:
        """A request comes in, encoded as for the socket."""
        self._requests.encode(request)
        self._waiting.append(request)
        self._arrived.set()

    async def abort_requests_async(self, request_ids: list[str]) -> None:
        """A request that the front end found to be at its end."""
        for request_id in request_ids:
            self._running.pop(request_id, None)

    async def get_output_async(self) -> Any:
        """The next step's tokens."""
        while not self._waiting and not self._running:
            self._arrived.clear()
            await self._arrived.wait()
        await asyncio.sleep(0)  # a step of a real engine lets everyone else go on, too
        start = time.thread_time()
        frames = self._step()
        self.own_s += time.thread_time() - start
        return self._decoder.decode(frames)

    def shutdown(self, timeout: float | None = None) -> None:
        """Nothing to end."""

    def _step(self) -> Any:
        from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs, FinishReason

        while self._waiting and len(self._running) < SLOTS:
            request = self._waiting.popleft()
            self._running[request.request_id] = [request.sampling_params, 0]
        outputs = []
        for request_id, state in list(self._running.items()):
            params, count = state
            state[1] = count + 1
            ended = state[1] >= params.max_tokens
            outputs.append(
                EngineCoreOutput(
                    request_id=request_id,
                    new_token_ids=[WORDS[(count * 7 + len(request_id)) % len(WORDS)]],
                    new_logprobs=self._logprobs(params),
                    finish_reason=FinishReason.LENGTH if ended else None,
                )
            )
            if ended:
                del self._running[request_id]
        return self._outputs.encode(EngineCoreOutputs(outputs=outputs, timestamp=time.monotonic()))

    def _logprobs(self, params: Any) -> Any:
        from vllm.v1.outputs import LogprobsLists

        ids = list(params.logprob_token_ids or WORDS[: params.logprobs or 0])
        if not ids:
            return None
        row = np.array([[WORDS[0], *ids]])
        return LogprobsLists(row, np.full(row.shape, -1.0, np.float32), np.array([1]))


def main() -> None:
    """A line for each way."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # else its lines stand between those of the table
    pairs = read_noveleval()
    print(f"{SLOTS} slots, {len(pairs)} rows of NovelEval, the demo model's tokenizer\n")
    print("| way | CPU µs a token | CPU µs a row beside its tokens |\n|---|---|---|")
    for name, way in {"the job": judge, "the reference's way of asking": ask_as_reference}.items():
        short, long = asyncio.run(measure(way, pairs))
        per_token = (long - short) / (LONG - SHORT)
        print(f"| {name} | {per_token * 1e6:.2f} | {(short - per_token * SHORT) * 1e6:.0f} |", flush=True)


def read_noveleval() -> list[Pair]:
    """The demo's pairs."""
    rows = pq.read_table(NOVELEVAL).to_pylist()
    return [Pair(row["query"], row["passage"], row.get("title")) for row in rows[:SLOTS]]


async def measure(way: Way, pairs: list[Pair]) -> tuple[float, float]:
    """CPU seconds a row with short traces, and with long ones: the least of some tries."""
    from vllm.v1.engine.core_client import EngineCoreClient

    core = AnsweringCore()
    EngineCoreClient.make_async_mp_client = lambda **_: core
    demo = load_config([*DEMO, "input.path=pairs", "output.path=judged"]).model.name
    engine = await build_vllm_engine({"model": demo, "dtype": "float32", "max_model_len": CONTEXT}, ENGINE, {})
    await way(engine, pairs, 2)  # what is imported and built at the first requests
    gc.collect()
    gc.freeze()  # as a replica's process does
    least = {SHORT: math.inf, LONG: math.inf}
    for _, tokens in itertools.product(range(TRIES), least):
        start, own = time.process_time(), core.own_s
        await way(engine, pairs, tokens)
        least[tokens] = min(least[tokens], (time.process_time() - start - (core.own_s - own)) / len(pairs))
    await engine.close()
    return least[SHORT], least[LONG]


async def judge(engine: VllmEngine, pairs: list[Pair], tokens: int) -> None:
    """As a replica does."""
    policy = Policy(PolicyKind.FULL, tokens, RANK1_TEMPLATE)
    judgments = await Feeder(engine, policy, SLOTS).judge(pairs)
    if {(judgment.error, judgment.trace_tokens) for judgment in judgments} != {(None, tokens)}:
        raise RuntimeError("not every row was judged after so many tokens")


async def ask_as_reference(engine: VllmEngine, pairs: list[Pair], tokens: int) -> None:
    """As orionw/rank1 does: texts, stop strings, 20 logprobs at every token; then once more for the unfinished."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    common = {"temperature": 0.0, "logprobs": LOGPROBS, "output_kind": RequestOutputKind.FINAL_ONLY}
    first = SamplingParams(
        max_tokens=tokens, stop=["</think> true", "</think> false"], skip_special_tokens=False, **common
    )
    second = SamplingParams(max_tokens=1, **common)
    prompts = [RANK1_TEMPLATE.format(query=pair.query, passage=pair.passage) for pair in pairs]
    texts = await generate(engine, prompts, first)
    closed = [prompt + close_reasoning(text) for prompt, text in zip(prompts, texts, strict=True)]
    await generate(engine, closed, second)


async def generate(engine: VllmEngine, prompts: list[str], params: Any) -> list[str]:
    """What is generated after each prompt; all are sent at once."""

    async def ask(prompt: str) -> str:
        async for output in engine._llm.generate({"prompt": prompt}, params, str(next(NAMES))):
            text = output.outputs[0].text
        return text

    return await asyncio.gather(*map(ask, prompts))


if __name__ == "__main__":
    main()

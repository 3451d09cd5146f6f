"""CPU time of the process that feeds an engine: this job against the way of the reference.

    python -m benchmarks.feeding

A CPU engine would take both cores and their caches, and the figure would say little. So the engine core here is a
script. It answers at once with one token a step for each of 256 requests, encoded as vLLM encodes it. All the rest is
vLLM's own front end and the job's own code, which is what this process does beside a GPU. The script's own time is
subtracted. The socket between the two processes is not measured.

Every trace ends by itself in `</think> true`, as nearly all traces of Rank1 do. The cost of a token is the slope
between traces of 100 and of 300 tokens. The cost of a row is what is left at zero tokens.
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

from rank1_batch.engines.vllm import VllmEngine, build_vllm_engine
from rank1_batch.judging.prompts import RANK1_TEMPLATE
from rank1_batch.judging.readers import RANK1
from rank1_batch.judging.records import Finish, Pair, Policy, PolicyKind
from rank1_batch.replica.feeder import Feeder
from rank1_batch.settings import load_config

NOVELEVAL = Path(__file__).parents[1] / "examples" / "noveleval" / "pairs"
DEMO = ["model=demo_full", "policy.max_thinking_tokens=100"]
SLOTS, CONTEXT = 256, 4096
SHORT, LONG, TRIES = 100, 300, 3
BUDGET = 2 * LONG
LOGPROBS = 20
WORDS = range(1000, 1100)
"""Token ids that answers are made of: ordinary pieces of words, none of them an end."""
NAMES = itertools.count()
ENGINE = {"max_num_seqs": SLOTS, "max_num_batched_tokens": 8192, "enforce_eager": True}


Way = Callable[[VllmEngine, list[Pair], int], Awaitable[None]]


class AnsweringCore:
    """Takes the place of the process with the model: it answers with some words, `</think>` and ` true`."""

    def __init__(self, end: tuple[int, int]) -> None:
        from vllm.v1.engine import EngineCoreOutputs
        from vllm.v1.serial_utils import MsgpackDecoder, MsgpackEncoder

        self.own_s = 0.0
        """CPU time that an engine's process would have spent."""
        self.trace_tokens = 0
        """Words before the end of each answer."""
        self.resources = SimpleNamespace(engine_dead=False)
        self._end = end
        self._requests, self._outputs = MsgpackEncoder(), MsgpackEncoder()
        self._decoder = MsgpackDecoder(EngineCoreOutputs)
        self._waiting: deque[Any] = deque()
        self._running: dict[str, list[Any]] = {}
        self._arrived = asyncio.Event()

    async def get_supported_tasks_async(self) -> tuple[str, ...]:
        """The tasks that the model supports."""
        return ("generate",)

    async def add_request_async(self, request: Any) -> None:
        """Take a request, encoded as for the socket."""
        self._requests.encode(request)
        self._waiting.append(request)
        self._arrived.set()

    async def abort_requests_async(self, request_ids: list[str]) -> None:
        """Drop a request that the front end has ended."""
        for request_id in request_ids:
            self._running.pop(request_id, None)

    async def get_output_async(self) -> Any:
        """The tokens of the next step."""
        while not self._waiting and not self._running:
            self._arrived.clear()
            await self._arrived.wait()
        await asyncio.sleep(0)  # a real engine also lets other coroutines run at each step
        start = time.thread_time()
        frames = self._step()
        self.own_s += time.thread_time() - start
        return self._decoder.decode(frames)

    def shutdown(self, timeout: float | None = None) -> None:
        """Nothing to shut down."""

    def _step(self) -> Any:
        from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs, FinishReason

        while self._waiting and len(self._running) < SLOTS:
            request = self._waiting.popleft()
            self._running[request.request_id] = [request.sampling_params, 0]
        outputs = []
        for request_id, state in list(self._running.items()):
            params, count = state
            state[1] = count + 1
            token = self._token(count)
            ended = FinishReason.LENGTH if state[1] >= params.max_tokens else None
            if token in params.all_stop_token_ids:
                ended = FinishReason.STOP
            outputs.append(
                EngineCoreOutput(
                    request_id=request_id,
                    new_token_ids=[token],
                    new_logprobs=self._logprobs(params),
                    finish_reason=ended,
                )
            )
            if ended is not None:
                del self._running[request_id]
        return self._outputs.encode(EngineCoreOutputs(outputs=outputs, timestamp=time.monotonic()))

    def _token(self, count: int) -> int:
        if count < self.trace_tokens:
            return WORDS[count * 7 % len(WORDS)]
        return self._end[min(count - self.trace_tokens, 1)]

    def _logprobs(self, params: Any) -> Any:
        from vllm.v1.outputs import LogprobsLists

        ids = list(params.logprob_token_ids or WORDS[: params.logprobs or 0])
        if not ids:
            return None
        row = np.array([[WORDS[0], *ids]])
        return LogprobsLists(row, np.full(row.shape, -1.0, np.float32), np.array([1]))


def main() -> None:
    """Print a line for each way."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # its log lines would stand between the lines of the table
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
    """CPU seconds a row with short traces and with long ones. Each is the least of several tries."""
    from transformers import AutoTokenizer
    from vllm.v1.engine.core_client import EngineCoreClient

    demo = load_config([*DEMO, "input.path=pairs", "output.path=judged"]).model.name
    think_end, true = AutoTokenizer.from_pretrained(demo).encode("</think> true", add_special_tokens=False)
    core = AnsweringCore((think_end, true))
    # A core without a model takes the place of the process with one. vLLM has no setting for that.
    EngineCoreClient.make_async_mp_client = lambda **_: core  # type: ignore[method-assign]  # replaced on purpose
    engine = await build_vllm_engine({"model": demo, "dtype": "float32", "max_model_len": CONTEXT}, ENGINE, {}, RANK1)
    await way(engine, pairs, 0)  # the first requests also import and build things
    gc.collect()
    gc.freeze()  # as a replica's process does
    least = {SHORT: math.inf, LONG: math.inf}
    for _, tokens in itertools.product(range(TRIES), least):
        core.trace_tokens = tokens
        start, own = time.process_time(), core.own_s
        await way(engine, pairs, tokens)
        least[tokens] = min(least[tokens], (time.process_time() - start - (core.own_s - own)) / len(pairs))
    gc.unfreeze()  # or some libraries report leaks when Python ends
    await engine.close()
    return least[SHORT], least[LONG]


async def judge(engine: VllmEngine, pairs: list[Pair], tokens: int) -> None:
    """As a replica does."""
    judgments = await Feeder(engine, Policy(PolicyKind.FULL, BUDGET, RANK1_TEMPLATE), SLOTS).judge(pairs)
    if {(judgment.finish, judgment.trace_tokens) for judgment in judgments} != {(Finish.COMPLETE, tokens + 1)}:
        raise RuntimeError("not every row was judged after so many tokens")


async def ask_as_reference(engine: VllmEngine, pairs: list[Pair], tokens: int) -> None:
    """As orionw/rank1 does: texts, stop strings, 20 logprobs at every token; no row needs its second request."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    params = SamplingParams(
        temperature=0.0, max_tokens=BUDGET, logprobs=LOGPROBS, stop=["</think> true", "</think> false"],
        skip_special_tokens=False, output_kind=RequestOutputKind.FINAL_ONLY,
    )  # fmt: skip

    async def ask(prompt: str) -> int:
        async for output in engine._llm.generate({"prompt": prompt}, params, str(next(NAMES))):
            found = output.outputs[0]
        return len(found.token_ids) if found.finish_reason == "stop" else -1

    prompts = [RANK1_TEMPLATE.format(query=pair.query, passage=pair.passage) for pair in pairs]
    if set(await asyncio.gather(*map(ask, prompts))) != {tokens + 2}:
        raise RuntimeError("not every row was stopped after so many tokens")


if __name__ == "__main__":
    main()

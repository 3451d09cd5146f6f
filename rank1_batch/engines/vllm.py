"""Sends two requests to vLLM: reasoning without logprobs, then the logprobs of the answers at one position.

The only module that imports vLLM. Checked with vLLM 0.32.0.
"""

import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rank1_batch.engines.causes import explain_start, find_root, watch_output
from rank1_batch.errors import EngineDiedError, ReplicaError, RowError, SettingsError
from rank1_batch.judging.prompts import ControlTokens, build_control_tokens
from rank1_batch.judging.readers import Reader
from rank1_batch.judging.records import Reasoning
from rank1_batch.judging.scoring import Verdict

REASON_PRIORITY, VERDICT_PRIORITY = 1, 0
"""Lower goes first. A verdict is one token and then frees the row's place, so it goes before reasoning."""


class VerdictTokens(NamedTuple):
    """Token ids that the judge needs: of the answers, and of the end of reasoning (empty without reasoning).

    `</think>` is one token in Rank1's checkpoints.
    """

    answer_ids: tuple[int, ...]
    close_ids: tuple[int, ...]


class Codec(NamedTuple):
    """Turns text into token ids with nothing added, padded or cut, and ids into text with nothing left out."""

    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]


class VllmEngine:
    """One vLLM engine. Use it only from the event loop on which it was built."""

    def __init__(self, llm: Any, tokenizer: Any, max_model_len: int, reader: Reader) -> None:
        self.max_model_len = max_model_len
        self.begin_ids: Sequence[int] = find_begin_ids(tokenizer)
        self.control: ControlTokens = build_control_tokens(find_control_tokens(tokenizer))
        self.prompt_tokens = self.cached_tokens = 0
        self._llm = llm
        self._tokenizer = tokenizer
        self._codec = build_codec(tokenizer)
        self._tokens = find_verdict_tokens(tokenizer, reader)
        self._think_end = reader.think_end or ""
        self._names = itertools.count()
        self._reason_params = _reason_params(self._tokens, self._think_end)
        self._verdict_params = _verdict_params(self._tokens)

    def wrap_chat(self, message: str) -> str:
        """The message as the tokenizer's chat template puts it, up to where the answer begins.

        The text has the beginning that the tokenizer would add, so prompts get no second one. Raises SettingsError if
        the tokenizer has no chat template.
        """
        try:
            chat = [{"role": "user", "content": message}]
            text = str(self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))
        except ValueError as error:
            raise SettingsError([f"prompt.chat needs a model with a chat template: {error}"]) from error
        if list(self.begin_ids) == self.encode(text)[: len(self.begin_ids)]:
            self.begin_ids = ()
        return text

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, with nothing added. Control tokens in it become their ids."""
        return self._codec.encode(text)

    async def reason(self, prompt: Sequence[int], max_tokens: int) -> Reasoning:
        """Greedy tokens until the end of reasoning, the model's end of text, or `max_tokens`."""
        params = self._reason_params.clone()
        params.max_tokens = max_tokens
        output = await self._generate(prompt, params, REASON_PRIORITY)
        if len(self._tokens.close_ids) == 1:
            return self._reasoning(list(output.token_ids), output.finish_reason)
        return self._reasoning_by_text(list(output.token_ids), output.text, output.stop_reason)

    async def verdict(self, prompt: Sequence[int]) -> Verdict:
        """Logprobs of the answers right after `prompt`, over the whole vocabulary."""
        output = await self._generate(prompt, self._verdict_params, VERDICT_PRIORITY)
        logprobs = output.logprobs[0] if output.logprobs else {}
        try:
            return tuple(logprobs[token].logprob for token in self._tokens.answer_ids)
        except KeyError as error:
            raise RowError(f"the engine returned no logprob for token {error}") from error

    async def close(self) -> None:
        """Stop the engine's processes."""
        self._llm.shutdown()

    async def _generate(self, prompt: Sequence[int], params: Any, priority: int) -> Any:
        """The only output of a request. Raises RowError or EngineDiedError."""
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        name = str(next(self._names))
        result = None
        try:
            tokens = {"type": "token", "prompt_token_ids": list(prompt)}
            # FINAL_ONLY: there is one output, the last.
            async for output in self._llm.generate(tokens, params, name, priority=priority):
                result = output
        except EngineDeadError as error:
            raise EngineDiedError(str(error)) from error
        except (EngineGenerateError, VLLMClientError, ValueError) as error:
            if self._llm.errored:  # its loop of outputs has ended with an error, which each request in flight gets
                raise EngineDiedError(f"vLLM's output handler failed: {error.__cause__ or error}") from error
            raise RowError(f"the engine refused this row: {error.__cause__ or error}") from error
        if result is None or result.outputs[0].finish_reason not in ("stop", "length"):
            raise RowError(f"the engine gave up on this row: {result and result.outputs[0].finish_reason}")
        self.prompt_tokens += len(prompt)
        self.cached_tokens += result.num_cached_tokens or 0
        return result.outputs[0]

    def _reasoning(self, ids: list[int], finish_reason: str) -> Reasoning:
        complete = finish_reason == "stop" and ids[-1:] == list(self._tokens.close_ids)
        ended = ids[:-1] if finish_reason == "stop" else ids
        return Reasoning(ids, self._codec.decode(ended), len(ids), complete)

    def _reasoning_by_text(self, ids: list[int], text: str, stop_reason: object) -> Reasoning:
        """If the end of reasoning is several tokens, the engine stops at its text."""
        complete = stop_reason == self._think_end
        count = len(ids)
        if complete and self._codec.decode(ids) != text + self._think_end:
            # The last token holds more text after the end. Encode the text up to the end instead.
            ids = self.encode(text + self._think_end)
        return Reasoning(ids, text, count, complete)


async def build_vllm_engine(
    model: dict[str, Any], engine: dict[str, Any], env: dict[str, str], reader: Reader
) -> VllmEngine:
    """Load a model. `model` and `engine` are arguments of vLLM's AsyncEngineArgs. `env` is set before.

    Raises SettingsError if the model cannot run with these arguments, and ReplicaError if this machine cannot run it.
    """
    os.environ.update(env)
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    name = model["model"]
    with watch_output() as output:
        try:
            args = AsyncEngineArgs(**model, **engine, scheduling_policy="priority", disable_log_stats=True)
            llm = AsyncLLM.from_engine_args(args)
        except Exception as error:  # vLLM has no class for a failed start: it lets through what its parts raise
            raise explain_start(name, error, output.read()) from error
        built = VllmEngine(llm, llm.get_tokenizer(), llm.model_config.max_model_len, reader)
        try:
            await built.verdict(built.encode("The first request."))
        except EngineDiedError as error:
            raise _explain_first_death(name, output.read()) from error
    return built


def _explain_first_death(name: str, printed: str) -> SettingsError | ReplicaError:
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        hint = "int4 models need AVX-512 on a CPU; see the engine's log"
        return SettingsError([f"{name}: the engine died at its first request ({hint})"])
    return ReplicaError(f"{name}: the engine died at its first request: {find_root(printed) or 'its log may say why'}")


def build_codec(tokenizer: Any) -> Codec:
    """The codec of a tokenizer."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # Mistral's own tokenizers
        return Codec(
            lambda text: list(tokenizer.encode(text, add_special_tokens=False)),
            lambda ids: str(tokenizer.decode(ids, skip_special_tokens=False)),
        )
    # Use a copy: a tokenizer.json may ask for padding, and other code may change the shared tokenizer.
    # It takes less than half the time of the wrapper, which builds a BatchEncoding. "fast" leaves out token positions.
    own = type(backend).from_str(backend.to_str())
    own.no_padding()
    own.no_truncation()
    return Codec(
        lambda text: list(own.encode_batch_fast([text], add_special_tokens=False)[0].ids),
        lambda ids: str(own.decode(ids, skip_special_tokens=False)),
    )


def find_verdict_tokens(tokenizer: Any, reader: Reader) -> VerdictTokens:
    """The ids of the answers and of the end of reasoning. Raises SettingsError if an answer is not one token."""
    ids = {text: tokenizer.encode(text, add_special_tokens=False) for text, _ in reader.answers}
    wrong = [f"{text!r} is {len(found)} tokens" for text, found in ids.items() if len(found) != 1]
    if not wrong and len({found[0] for found in ids.values()}) < len(ids):
        wrong = [f"{' and '.join(map(repr, ids))} are not all different tokens"]
    if wrong:
        raise SettingsError([f"this model's tokenizer cannot give a verdict in one token: {', '.join(wrong)}"])
    end = tokenizer.encode(reader.think_end, add_special_tokens=False) if reader.think_end else ()
    return VerdictTokens(tuple(found[0] for found in ids.values()), tuple(end))


def find_begin_ids(tokenizer: Any) -> list[int]:
    """The ids that the tokenizer puts before a text (a BOS token, or nothing)."""
    plain = tokenizer.encode("x", add_special_tokens=False)
    marked = tokenizer.encode("x", add_special_tokens=True)
    return list(marked[: next(i for i in range(len(marked)) if marked[i : i + len(plain)] == plain)])


def find_control_tokens(tokenizer: Any) -> set[str]:
    """The text of every added token, except tokens of only white space."""
    return {token for token in tokenizer.get_added_vocab() if token.strip()}


def _reason_params(tokens: VerdictTokens, think_end: str) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    one_token = len(tokens.close_ids) == 1
    return SamplingParams(
        temperature=0.0,
        skip_special_tokens=False,
        detokenize=not one_token,
        stop_token_ids=list(tokens.close_ids) if one_token else None,
        stop=None if one_token or not think_end else [think_end],
        output_kind=RequestOutputKind.FINAL_ONLY,
        skip_clone=True,  # saves three deep copies (0.2 ms) for each row; vLLM does not change the shared object
    )


def _verdict_params(tokens: VerdictTokens) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=0.0,
        max_tokens=1,
        logprob_token_ids=list(tokens.answer_ids),
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
        skip_clone=True,
    )

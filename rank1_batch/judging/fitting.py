"""Makes a prompt fit the model's context. Only the passage is cut, never the end of the prompt."""

from collections.abc import Sequence

from rank1_batch.errors import RowError
from rank1_batch.judging.closing import THINK_END
from rank1_batch.judging.prompts import (
    Prompt,
    combine_query,
    combine_title,
    has_instruction,
    join_pieces,
    render_prompt,
)
from rank1_batch.judging.readers import Reader
from rank1_batch.judging.records import Engine, Pair, Policy, PolicyKind

CLOSING_TOKENS = 8
"""Tokens kept free after the reasoning, for the newlines, `</think>` (at most 3 tokens) and the verdict."""

LONGEST_TOKEN = 64
"""The most letters that one token is assumed to stand for. Used to cut a huge passage before it is tokenised."""


def render_pair(engine: Engine, pair: Pair, policy: Policy) -> Prompt:
    """The prompt of a pair. Raises RowError if the query has no text, or the passage has neither text nor title."""
    for name, texts in (("query", (pair.query,)), ("passage", (pair.passage, pair.title))):
        if not any((text or "").strip() for text in texts):
            raise RowError(f"the {name} is {'null' if texts[0] is None else 'empty'}")
    passage = combine_title(pair.title, pair.passage or "")
    if not has_instruction(policy.template):
        query = combine_query(pair.query or "", pair.instruction, policy.dataset_prompt)
        return render_prompt(policy.template, query, passage, engine.control)
    query = combine_query(pair.query or "", None, policy.dataset_prompt)
    instruction = (pair.instruction or "").strip() or policy.instruction or ""
    return render_prompt(policy.template, query, passage, engine.control, instruction)


def reserve_closing(reader: Reader) -> int:
    """Tokens kept free after the reasoning. A byte of other texts than `</think>` counts as a token."""
    end = "" if reader.think_end in (None, THINK_END) else reader.think_end
    return CLOSING_TOKENS + len(f"{end}{reader.before}".encode())


def encode_prompt(engine: Engine, prompt: Prompt, policy: Policy) -> tuple[list[int], bool]:
    """Token ids of a prompt, and whether its passage had to be cut to fit.

    The prompt may fill the model's context except for a reserve. The reserve is the thinking budget, but
    at most a quarter of the context. Raises RowError if the prompt does not fit even with an empty passage.
    """
    reserve = min(policy.max_thinking_tokens, engine.max_model_len // 4)
    limit = engine.max_model_len - reserve_closing(policy.reader)
    limit -= 0 if policy.kind is PolicyKind.NO_THINK else reserve
    if sum(map(len, prompt.passage)) <= limit * LONGEST_TOKEN:
        whole = join_pieces((prompt.head, prompt.passage, prompt.tail), engine.control)
        ids = [*engine.begin_ids, *_encode_pieces(engine, whole)]
        if len(ids) <= limit:
            return ids, False
    head = [*engine.begin_ids, *_encode_pieces(engine, prompt.head)]
    tail = _encode_pieces(engine, prompt.tail)
    room = limit - len(head) - len(tail)
    if room <= 0:
        raise RowError(f"the query leaves no room for a passage: {len(head) + len(tail)} of {limit} tokens")
    return head + _encode_start(engine, prompt.passage, room) + tail, True


def _encode_pieces(engine: Engine, pieces: Sequence[str]) -> list[int]:
    return [token for piece in pieces for token in engine.encode(piece)]


def _encode_start(engine: Engine, pieces: Sequence[str], room: int) -> list[int]:
    """The first `room` tokens of a passage. Text that is certainly beyond them is not tokenised."""
    ids: list[int] = []
    for piece in pieces:
        if len(ids) >= room:
            break
        ids += engine.encode(piece[: (room - len(ids)) * LONGEST_TOKEN])
    return ids[:room]

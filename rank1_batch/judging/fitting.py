"""A prompt made to fit the model: its passage is cut, never its tail."""

from collections.abc import Sequence

from rank1_batch.errors import RowError
from rank1_batch.judging.prompts import Prompt, combine_query, combine_title, join_pieces, render_prompt
from rank1_batch.judging.records import Engine, Pair, Policy, PolicyKind

CLOSING_TOKENS = 8
"""Room kept free after the reasoning for the newlines, `</think>` (at most 3 tokens) and the verdict."""

LONGEST_TOKEN = 64
"""Letters that a token stands for at most, when a huge passage is cut before it is tokenised."""


def render_pair(engine: Engine, pair: Pair, policy: Policy) -> Prompt:
    """The prompt of a pair. Raises RowError where the query or the passage has no text."""
    for name in ("query", "passage"):
        if not (getattr(pair, name) or "").strip():
            raise RowError(f"the {name} is {'null' if getattr(pair, name) is None else 'empty'}")
    query = combine_query(pair.query or "", pair.instruction, policy.dataset_prompt)
    passage = combine_title(pair.title, pair.passage or "")
    return render_prompt(policy.template, query, passage, engine.control)


def encode_prompt(engine: Engine, prompt: Prompt, policy: Policy) -> tuple[list[int], bool]:
    """Token ids of a prompt, and whether its passage had to be cut for them to fit.

    A prompt may fill the model's context but for the thinking budget, of which at most a quarter
    of the context is held back. Raises RowError where not even the empty passage leaves that room.
    """
    reserve = min(policy.max_thinking_tokens, engine.max_model_len // 4)
    limit = engine.max_model_len - CLOSING_TOKENS - (0 if policy.kind is PolicyKind.NO_THINK else reserve)
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
    """The first `room` tokens of a passage. Text that cannot be among them is not tokenised."""
    ids: list[int] = []
    for piece in pieces:
        if len(ids) >= room:
            break
        ids += engine.encode(piece[: (room - len(ids)) * LONGEST_TOKEN])
    return ids[:room]

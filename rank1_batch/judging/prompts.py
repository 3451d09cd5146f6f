"""The prompts that Rank1 was trained on, and a safe way to put a user's text into them.

The template, the data-set prompts and the instruction rule come from orionw/rank1 @30585c2 (MIT).
Knows nothing about tokens. A prompt is a sequence of text pieces, each tokenised separately.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

RANK1_TEMPLATE = (
    "Determine if the following passage is relevant to the query. "
    "Answer only with 'true' or 'false'.\n"
    "Query: {query}\n"
    "Passage: {passage}\n"
    "<think>"
)

QUERY_SLOT = "FILL_QUERY_HERE"

_SLOTS = re.compile(r"\{(query|passage|instruction)\}")


class ControlTokens(NamedTuple):
    """A tokenizer's control tokens as text: a pattern that matches any of them, and the length of the longest."""

    pattern: re.Pattern[str]
    longest: int


class Prompt(NamedTuple):
    """A rendered prompt. `head + passage + tail` is its text. Each member is a tuple of pieces.

    Only `passage` may be shortened. Pieces are tokenised separately, so a user's text can never turn
    into a control token (`<think>`, `<|im_end|>`, …).
    """

    head: tuple[str, ...]
    passage: tuple[str, ...]
    tail: tuple[str, ...]

    @property
    def text(self) -> str:
        """The prompt as one string, as the reference builds it."""
        return "".join(self.head + self.passage + self.tail)


def combine_query(query: str, instruction: str | None, dataset_prompt: str | None) -> str:
    """The text for the Query slot: the query and its instruction, inside the data set's prompt.

    The reference's rule: `f"{query} {instruction}".strip()`, or the query alone if both are equal
    after stripping.
    """
    if instruction is not None and instruction.strip() != query.strip():
        query = f"{query} {instruction}".strip()
    if dataset_prompt is None:
        return query
    return dataset_prompt.replace(QUERY_SLOT, query)


def combine_title(title: str | None, text: str) -> str:
    """The passage shown to the model: `f"{title} {text}"` if there is a title, as in the reference."""
    return f"{title} {text}" if title else text


def check_template(template: str) -> list[str]:
    """What is wrong with a template, one sentence for each problem. Empty if it is right."""
    slots = _SLOTS.findall(template)
    problems = [
        f"prompt.template needs {{{slot}}} exactly once, but has it {slots.count(slot)} times"
        for slot in ("query", "passage")
        if slots.count(slot) != 1
    ]
    if slots.count("instruction") > 1:
        problems.append(f"prompt.template may have {{instruction}} once, but has it {slots.count('instruction')} times")
    return problems


def has_instruction(template: str) -> bool:
    """Whether a template has a place for the instruction. Otherwise the instruction goes after the query."""
    return "instruction" in _SLOTS.findall(template)


def render_prompt(template: str, query: str, passage: str, control: ControlTokens, instruction: str = "") -> Prompt:
    """The prompt of one pair. `template` holds `{query}` and `{passage}` once each, and perhaps `{instruction}`.

    If a text of a user spells a control token, it is split there, so that the model reads it as ordinary letters.
    """
    parts = _SLOTS.split(template)
    user_text = {"query": query, "passage": passage, "instruction": instruction}
    slot = 1 + 2 * parts[1::2].index("passage")
    before = _fill(parts[:slot], user_text, control)
    after = _fill(parts[slot + 1 :], user_text, control)
    return Prompt(before, _defuse(passage, control), after)


def build_control_tokens(tokens: Iterable[str]) -> ControlTokens:
    """A pattern that matches any of these control tokens. It never matches if there are none."""
    spellings = sorted(tokens)
    pattern = re.compile("|".join(map(re.escape, spellings)) or r"(?!)")
    return ControlTokens(pattern, max(map(len, spellings), default=0))


def join_pieces(texts: Iterable[tuple[str, ...]], control: ControlTokens) -> tuple[str, ...]:
    """Joins several texts: the last piece of each and the first piece of the next become one piece.

    They stay separate if together they would spell a control token.
    """
    pieces = [""]
    for first, *rest in texts:
        if _completes_control(pieces[-1], first, control):
            pieces.append(first)
        else:
            pieces[-1] += first
        pieces.extend(rest)
    return tuple(pieces)


def _fill(parts: Sequence[str], user_text: Mapping[str, str], control: ControlTokens) -> tuple[str, ...]:
    """The pieces of a part of the template. In `parts`, literals and slot names alternate."""
    texts = [_defuse(user_text[part], control) if place % 2 else (part,) for place, part in enumerate(parts)]
    return join_pieces(texts, control)


def _completes_control(left: str, right: str, control: ControlTokens) -> bool:
    """Whether a control token begins in `left` and ends in `right`."""
    if not left or not right or not control.longest:
        return False
    left, right = left[-control.longest :], right[: control.longest]
    if control.pattern.search(left + right) is None:
        return False
    starts = _control_starts(left + right, control)
    return any(start < len(left) < start + len(text) for start, text in starts)


def _control_starts(text: str, control: ControlTokens) -> Iterator[tuple[int, str]]:
    """Every place where `text` spells a control token, and the token. Overlapping ones are included."""
    match = control.pattern.search(text)
    while match:
        yield match.start(), match[0]
        match = control.pattern.search(text, match.start() + 1)


def _defuse(text: str, control: ControlTokens) -> tuple[str, ...]:
    """`text` split after the first letter of every control token that it spells. One piece if there is none."""
    cuts = [start + 1 for start, _ in _control_starts(text, control)]
    return tuple(text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True))

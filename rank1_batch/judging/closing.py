"""The reference's rule for reasoning that did not end by itself."""

THINK_END = "</think>"
"""Ends the reasoning of most models. One token in Rank1's checkpoints, several in other vocabularies."""

_SENTENCE_ENDS = ".!?"


def cut_unfinished(text: str) -> str:
    """`text` stripped and cut after its last full sentence. It stays whole if it has no full sentence.

    The rule of orionw/rank1 @30585c2 for reasoning that ended without `</think>`.
    """
    text = text.strip()
    if text.endswith(tuple(_SENTENCE_ENDS)):
        return text
    last = max(text.rfind(end) for end in _SENTENCE_ENDS)
    return text if last == -1 else text[: last + 1]


def close_reasoning(text: str, think_end: str = THINK_END) -> str:
    """The text after the prompt when reasoning is closed to get a verdict: the cut text, then its end."""
    return f"\n{cut_unfinished(text)}\n{think_end}"

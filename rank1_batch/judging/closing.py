"""The reference's rule for reasoning that did not come to its end."""

THINK_END = "</think>"
"""What ends the reasoning. One token in Rank1's checkpoints, several in other vocabularies."""

_SENTENCE_ENDS = ".!?"


def cut_unfinished(text: str) -> str:
    """`text` stripped and cut back to its last full sentence; whole where it has none.

    The rule of orionw/rank1 @30585c2 for reasoning that ended without `</think>`.
    """
    text = text.strip()
    if text.endswith(tuple(_SENTENCE_ENDS)):
        return text
    last = max(text.rfind(end) for end in _SENTENCE_ENDS)
    return text if last == -1 else text[: last + 1]


def close_reasoning(text: str) -> str:
    """What follows the prompt when the verdict is asked for by force: the cut text, then `</think>`."""
    return f"\n{cut_unfinished(text)}\n{THINK_END}"

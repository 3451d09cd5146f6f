import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.judging.closing import close_reasoning, cut_unfinished

traces = st.text(alphabet=" \n\tab.!?。<>/")


def reference_cut(text: str) -> str:
    """The reference's rule said in another way: up to the last `.`, `!` or `?`, else all of it."""
    match = re.match(r".*[.!?]", text, re.DOTALL)
    return (match[0] if match else text).strip()


@given(traces | st.text())
def test_reasoning_is_cut_as_the_reference_cuts_it(text: str) -> None:
    assert cut_unfinished(text) == reference_cut(text)


@given(traces)
def test_cutting_twice_changes_nothing_more(text: str) -> None:
    assert cut_unfinished(cut_unfinished(text)) == cut_unfinished(text)


@given(traces)
def test_what_is_left_is_the_start_of_what_was_written(text: str) -> None:
    assert text.strip().startswith(cut_unfinished(text))


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("\nOkay. The passage says so! But then", "Okay. The passage says so!"),
        ("Is it about Paris? ", "Is it about Paris?"),
        ("a price of 3.50 dollars", "a price of 3."),  # the reference knows no numbers either
        ("  no sentence ends here ", "no sentence ends here"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_examples_of_the_rule(text: str, cut: str) -> None:
    assert cut_unfinished(text) == cut


@given(traces)
def test_forced_reasoning_ends_as_in_the_reference(text: str) -> None:
    """The reference continues the prompt with a newline, the cut text, a newline and `</think>`."""
    assert close_reasoning(text) == "\n" + reference_cut(text) + "\n</think>"

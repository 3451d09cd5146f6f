"""Numbers and texts as people read them."""

import pytest

from rank1_batch.jobs.report.words import cut_text, format_seconds, format_share, show_controls


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.26, "0.3 s"), (59.4, "59.4 s"), (61, "1 min 1 s"), (8040, "2 h 14 min")]
)
def test_a_duration_reads_as_people_say_it(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_a_share_of_nothing_is_a_dash() -> None:
    assert (format_share(1, 3), format_share(0, 0)) == ("33.3 %", "-")


def test_letters_that_cannot_be_seen_become_pictures_and_line_breaks_stay() -> None:
    assert (
        show_controls("a\x00b\x1bc\x7fd\ne\tf")
        == "a\N{SYMBOL FOR NULL}b\N{SYMBOL FOR ESCAPE}c\N{SYMBOL FOR DELETE}d\ne\tf"
    )
    assert show_controls(None) == ""


def test_a_long_text_is_cut_to_one_line() -> None:
    assert cut_text("one\n two   three", 8) == "one two…"
    assert cut_text("one\ntwo", 8) == "one two"

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.judging.prompts import (
    QUERY_SLOT,
    RANK1_TEMPLATE,
    build_control_tokens,
    check_template,
    combine_query,
    combine_title,
    render_prompt,
)
from tests.support.paths import DATA

REFERENCE = json.loads((DATA / "rank1_prompts.json").read_text())
NOTHING = build_control_tokens([])
THINK = build_control_tokens(["<think>", "</think>"])

words = st.text(alphabet="abc<>/ \n.é{}|") | st.text()
control_tokens = st.sets(st.text(alphabet="ab<", min_size=2, max_size=4), max_size=4)


def test_the_plain_prompt_is_letter_for_letter_that_of_the_reference() -> None:
    prompt = render_prompt(RANK1_TEMPLATE, "capital of France", "Paris is the capital of France.", THINK)
    assert prompt.text == (
        "Determine if the following passage is relevant to the query. Answer only with 'true' or 'false'.\n"
        "Query: capital of France\n"
        "Passage: Paris is the capital of France.\n"
        "<think>"
    )


def test_the_reference_has_fifteen_data_set_prompts_with_our_slot() -> None:
    assert len(REFERENCE["prompts"]) == 15
    assert REFERENCE["slot"] == QUERY_SLOT


@pytest.mark.parametrize("name", REFERENCE["prompts"])
def test_a_data_set_prompt_goes_inside_the_query_slot(name: str) -> None:
    wrapped = REFERENCE["prompts"][name].replace("FILL_QUERY_HERE", "who wrote Faust")
    query = combine_query("who wrote Faust", None, REFERENCE["prompts"][name])
    assert render_prompt(RANK1_TEMPLATE, query, "Goethe.", THINK).text == (
        "Determine if the following passage is relevant to the query. Answer only with 'true' or 'false'.\n"
        f"Query: {wrapped}\n"
        "Passage: Goethe.\n"
        "<think>"
    )


@pytest.mark.parametrize(
    ("query", "instruction", "combined"),
    [
        ("foreign minorities, Germany", "Find ethnic groups.", "foreign minorities, Germany Find ethnic groups."),
        ("a query", None, "a query"),
        ("a query", "a query", "a query"),
        ("a query", " a query\n", "a query"),
        ("a query ", "", "a query"),
        (" a query", " and more ", "a query  and more"),
    ],
)
def test_an_instruction_follows_the_query_unless_it_repeats_it(
    query: str, instruction: str | None, combined: str
) -> None:
    assert combine_query(query, instruction, None) == combined


def test_an_instruction_is_appended_before_the_data_set_prompt_goes_around_it() -> None:
    assert combine_query("q", "i", "Claim: FILL_QUERY_HERE!") == "Claim: q i!"


def test_a_query_that_spells_the_slot_is_not_filled_again() -> None:
    assert combine_query(QUERY_SLOT, None, f"a {QUERY_SLOT} b") == f"a {QUERY_SLOT} b"


@pytest.mark.parametrize(("title", "shown"), [("Faust", "Faust A tragedy."), (None, "A tragedy."), ("", "A tragedy.")])
def test_a_title_stands_before_the_text_with_a_space_between(title: str | None, shown: str) -> None:
    assert combine_title(title, "A tragedy.") == shown


@given(words, words, control_tokens)
def test_no_letter_is_lost_or_added_by_cutting_control_tokens_apart(query: str, passage: str, tokens: set[str]) -> None:
    text = render_prompt(RANK1_TEMPLATE, query, passage, build_control_tokens(tokens)).text
    assert text.endswith(f"\nQuery: {query}\nPassage: {passage}\n<think>")
    assert text.index("\nQuery: ") + len(f"\nQuery: {query}\nPassage: {passage}\n<think>") == len(text)


@given(st.text(alphabet="ab<", max_size=12), control_tokens)
def test_no_piece_of_a_passage_spells_a_control_token(passage: str, tokens: set[str]) -> None:
    """Also where two of them overlap in the text, and where one lies in another."""
    prompt = render_prompt(RANK1_TEMPLATE, "q", passage, build_control_tokens(tokens))
    assert [piece for piece in prompt.passage for token in tokens if token in piece] == []


def test_overlapping_control_tokens_are_all_cut_apart() -> None:
    """The second `==` of `===` starts inside the first."""
    prompt = render_prompt(RANK1_TEMPLATE, "q", "===", build_control_tokens(["=="]))
    assert all("==" not in piece for piece in prompt.passage)


def test_text_that_spells_no_control_token_stays_one_piece() -> None:
    prompt = render_prompt(RANK1_TEMPLATE, "a < b", "x > y, think", THINK)
    assert (len(prompt.head), len(prompt.passage), len(prompt.tail)) == (1, 1, 1)


def test_slots_that_a_user_spells_are_ordinary_text() -> None:
    prompt = render_prompt(RANK1_TEMPLATE, "{passage}", "{query} {passage} {0} {", THINK)
    assert "\nQuery: {passage}\nPassage: {query} {passage} {0} {\n<think>" in prompt.text


def test_a_template_may_show_the_passage_first() -> None:
    prompt = render_prompt("P: {passage}\nQ: {query}\n<think>", "q", "p", THINK)
    assert prompt == (("P: ",), ("p",), ("\nQ: q\n<think>",))


@pytest.mark.parametrize("template", ["{query}passage{passage}<think>", "passage{passage}query{query}<think>"])
def test_a_template_may_name_its_slots_in_the_text_between_them(template: str) -> None:
    text = render_prompt(template, "Q", "P", THINK).text
    assert text == template.replace("{query}", "Q").replace("{passage}", "P")


@pytest.mark.parametrize(
    ("template", "problems"),
    [
        (RANK1_TEMPLATE, []),
        ("{query}", [r"\{passage\} exactly once, but has it 0"]),
        ("{passage} {passage} {query}", [r"\{passage\} exactly once, but has it 2"]),
        ("nothing", [r"\{query\} exactly once, but has it 0", r"\{passage\} exactly once, but has it 0"]),
    ],
)
def test_every_problem_of_a_template_is_told(template: str, problems: list[str]) -> None:
    found = check_template(template)
    assert len(found) == len(problems)
    assert all(re.search(problem, sentence) for problem, sentence in zip(problems, found, strict=True))


def test_a_pattern_of_no_tokens_matches_nothing() -> None:
    assert NOTHING.pattern.search("") is None
    assert NOTHING.pattern.search("<think>") is None


def test_letters_of_a_token_that_mean_something_in_patterns_are_taken_as_letters() -> None:
    pattern = build_control_tokens(["<|im_end|>", "[INST]", "."])
    assert pattern.pattern.findall("a<|im_end|>[INST] I.") == ["<|im_end|>", "[INST]", "."]

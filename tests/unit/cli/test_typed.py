"""What is typed arrives as it was typed, and what cannot be meant gets a sentence."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rank1_batch.cli.compose import load_settings
from rank1_batch.errors import SettingsError
from rank1_batch.jobs.redo.settings import RedoConfig
from rank1_batch.judging.records import PolicyKind
from rank1_batch.settings import RerankConfig

PATHS = ("input.path=pairs", "output.path=judged")

AWKWARD = (
    "~/x", "two words", "für", "out(1)", "s3://bucket/day=2026-01-01", "br[1]", "[0-9][0-9]", "a#b", "it's", '"quoted"',
    "{a:b}", "a,b", "true", "3", "${oc.env:HOME}", "\\${x}", "\\", "a\\", "$HOME", "*", "a: b", "é",
)  # fmt: skip


def load(*words: str) -> RerankConfig:
    return load_settings([*PATHS, *words], "rerank", RerankConfig, lambda _: [])


def value_of(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = getattr(config, name)
    return config


def problems_of(*words: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(*words)
    return caught.value.problems


@pytest.mark.parametrize("text", AWKWARD)
def test_a_text_arrives_as_it_was_typed(text: str) -> None:
    keys = ("output.path", "input.path", "model.name", "golden.path")
    config = load(*(f"{key}={text}" for key in keys))
    assert [value_of(config, key) for key in keys] == [text] * len(keys)


@given(st.text(min_size=1).filter(lambda text: text != "???"))
@example("null")
@example("[a,b]")
@example("\\\\${a}")
@example("${")
def test_any_text_after_output_path_arrives_as_it_was_typed(text: str) -> None:
    assert load(f"output.path={text}").output.path == text


@settings(max_examples=10)
@given(st.text(min_size=1))
@example("[a,b]")
@example("finish = 'closed' and \"score\" < 0.5")
def test_a_condition_for_rows_arrives_as_it_was_typed(text: str) -> None:
    if text != "???":
        assert load_settings([*PATHS, f"where={text}"], "redo", RedoConfig, lambda _: []).where == text


NAMES = st.text(st.characters(exclude_characters="[],'\"", exclude_categories=["C", "Z"]), min_size=1)


@settings(max_examples=10)
@given(st.lists(NAMES))
def test_a_list_in_brackets_is_a_list_of_its_texts(names: list[str]) -> None:
    assert load(f"input.path=[{','.join(names)}]").input.path == names


@pytest.mark.parametrize(
    ("typed", "elements"),
    [
        ("[a, b c ,d=e]", ["a", "b c", "d=e"]),
        ("[\"a,b\",'c,d',it's]", ["a,b", "c,d", "it's"]),
        ("[br[1],~/x]", ["br[1]", "~/x"]),
        ("[]", []),
    ],
)
def test_an_element_may_have_blanks_and_brackets_and_in_quotes_a_comma(typed: str, elements: list[str]) -> None:
    config = load(f"input.path={typed}", f"input.keep={typed}")
    assert (config.input.path, config.input.keep) == (elements, elements)


def test_one_element_of_a_list_needs_no_brackets() -> None:
    assert load("input.keep=lang").input.keep == ["lang"]


def test_texts_under_names_of_ones_own_arrive_as_typed() -> None:
    config = load("input.columns.query_id=query id (old)", "engine.env.FLAGS=--a=1 --b", "engine.env.NONE=")
    assert config.input.columns == {"query_id": "query id (old)"}
    assert config.engine.env == {"FLAGS": "--a=1 --b", "NONE": ""}


def test_null_takes_back_a_text_that_may_be_left_out() -> None:
    assert load("golden.path=x", "golden.path=null").golden.path is None


def test_the_last_of_two_values_counts() -> None:
    assert load("output.path=a", "+output.path=b").output.path == "b"


@pytest.mark.parametrize("spelling", ["no_think", "NO_THINK", "No_Think"])
def test_a_kind_is_written_in_any_case(spelling: str, tmp_path: Path) -> None:
    assert load(f"policy.kind={spelling}").policy.kind is PolicyKind.NO_THINK
    (tmp_path / "own.yaml").write_text(f"kind: {spelling}\nmax_thinking_tokens: 1\n")
    assert load(f"policy={tmp_path}/own.yaml").policy.kind is PolicyKind.NO_THINK


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("--hlep", "--hlep is not an option, did you mean --help?"),
        ("--verbose", "--verbose is not an option; there are --help and --settings"),
        ("--model=rank1_7b", "--model=rank1_7b: settings have no dashes, type model=rank1_7b"),
        ("-model.name", "-model.name: settings have no dashes, type model.name=VALUE"),
        ("model", "model has no value: type model=VALUE"),
        ("rank1_7b", "rank1_7b is not a setting: type model=rank1_7b"),
        ("help", "help is not a setting, did you mean --help?"),
        ("=", "= is not a setting; type NAME=VALUE, with quotes around a value that has blanks"),
        ("~gates", "~gates is not a setting; type NAME=VALUE, with quotes around a value that has blanks"),
        ("input.path=", "input.path= is empty: give it a value, or leave it out"),
        ("model=", "model= is empty: give it a value, or leave it out"),
        ("input.path=[a,,b]", "input.path=[a,,b]: an element of the list is empty"),
        ("input.path=???", "input.path=??? means no value at all: for files of that pattern, type input.path=./???"),
        ("policy.kind=short", "policy.kind is 'short', but must be one of full, no_think"),
    ],
)
def test_a_word_that_cannot_be_meant_gets_a_sentence_that_says_what_to_type(word: str, sentence: str) -> None:
    assert problems_of(word) == [sentence]


def test_all_such_words_are_named_together() -> None:
    assert len(problems_of("--hlep", "rank1_7b", "output.path=")) == 3

"""What the vLLM engine takes from a tokenizer, with real ones of the tokenizers library and no engine."""

from typing import Any

import pytest

from rank1_batch.engines.vllm import VllmEngine, build_codec, find_begin_ids, find_control_tokens, find_verdict_tokens
from rank1_batch.errors import SettingsError
from rank1_batch.judging.readers import RANK1, Answer, Reader
from tests.support.tiny_model import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """With `<think>` and `</think>` as one token each."""
    return build_tokenizer(think_tokens=True)


def test_the_verdicts_and_the_end_of_reasoning_are_found(tokenizer: Any) -> None:
    tokens = find_verdict_tokens(tokenizer, RANK1)
    assert tokenizer.convert_ids_to_tokens(tokens.answer_ids) == ["Ġtrue", "Ġfalse"]
    assert tokenizer.convert_ids_to_tokens(tokens.close_ids) == ["</think>"]
    assert len(find_verdict_tokens(build_tokenizer(think_tokens=False), RANK1).close_ids) > 1
    assert find_control_tokens(tokenizer) == {"<think>", "</think>", "<|endoftext|>"}


def test_a_tokenizer_that_spells_a_verdict_in_several_tokens_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"one token: ' true' is 5 tokens, ' false' is 6 tokens"):
        find_verdict_tokens(build_letters(), RANK1)


def test_what_stands_before_every_text_is_found(tokenizer: Any) -> None:
    assert find_begin_ids(tokenizer) == []
    assert find_begin_ids(build_letters(begin="<s>")) == [0]


def test_ids_are_neither_padded_nor_cut_and_texts_come_back_whole(tokenizer: Any) -> None:
    """A tokenizer.json may ask for padding and truncation."""
    cutting = build_tokenizer(think_tokens=True)
    text = "red stone , it is n't here . </think> true<|endoftext|>"
    plain = tokenizer.encode(text)
    cutting.backend_tokenizer.enable_truncation(4)
    cutting.backend_tokenizer.enable_padding(length=200)
    codec = build_codec(cutting)
    assert codec.encode(text) == plain
    assert codec.decode(plain) == text
    assert codec.encode("") == []
    assert codec.decode([]) == ""


def build_letters(begin: str | None = None) -> Any:
    """A tokenizer of single letters, with a token before every text where asked for."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(["<s>", *alphabet])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if begin:
        tokenizer.post_processor = processors.TemplateProcessing(f"{begin} $A", special_tokens=[(begin, 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=begin)


def test_answers_of_any_reader_are_found_in_its_order_and_no_reasoning_has_no_end() -> None:
    reader = Reader((Answer("b", 2), Answer("c", 1), Answer("a", 0)), think_end=None, relevant_from=1)
    letters = build_letters()
    tokens = find_verdict_tokens(letters, reader)
    assert letters.convert_ids_to_tokens(tokens.answer_ids) == ["b", "c", "a"]
    assert tokens.close_ids == ()


class NoModel:
    """What the engine's wrapper needs of AsyncLLM before the first request."""


@pytest.mark.parametrize(("begin", "written"), [(None, ""), ("<s>", "<s>"), ("<s>", "")])
def test_a_chat_ends_where_the_model_answers_and_begins_once(begin: str | None, written: str) -> None:
    tokenizer = build_letters(begin)
    tokenizer.chat_template = (
        written + "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}[model]{% endif %}"
    )
    reader = Reader((Answer("b", 1), Answer("a", 0)), think_end=None)
    engine = VllmEngine(NoModel(), tokenizer, 100, reader)
    assert engine.wrap_chat("{query} {passage}") == f"{written}[user]{{query}} {{passage}}[model]"
    assert list(engine.begin_ids) == ([0] if begin and not written else [])


def test_a_chat_with_a_model_that_has_no_chat_template_is_refused() -> None:
    engine = VllmEngine(NoModel(), build_letters(), 100, Reader((Answer("b", 1), Answer("a", 0)), think_end=None))
    with pytest.raises(SettingsError, match=r"prompt\.chat needs a model with a chat template"):
        engine.wrap_chat("{query}")

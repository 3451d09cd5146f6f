"""What the vLLM engine takes from a tokenizer, with real ones of the tokenizers library and no engine."""

from typing import Any

import pytest

from rank1_batch.engines.vllm import build_codec, find_begin_ids, find_control_tokens, find_verdict_tokens
from rank1_batch.errors import SettingsError
from tests.support.tiny_model import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """With `<think>` and `</think>` as one token each."""
    return build_tokenizer(think_tokens=True)


def test_the_verdicts_and_the_end_of_reasoning_are_found(tokenizer: Any) -> None:
    tokens = find_verdict_tokens(tokenizer)
    assert tokenizer.convert_ids_to_tokens([tokens.true_id, tokens.false_id]) == ["Ġtrue", "Ġfalse"]
    assert tokenizer.convert_ids_to_tokens(tokens.close_ids) == ["</think>"]
    assert len(find_verdict_tokens(build_tokenizer(think_tokens=False)).close_ids) > 1
    assert find_control_tokens(tokenizer) == {"<think>", "</think>", "<|endoftext|>"}


def test_a_tokenizer_that_spells_a_verdict_in_several_tokens_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"one token: ' true' is 5 tokens, ' false' is 6 tokens"):
        find_verdict_tokens(build_letters())


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
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)

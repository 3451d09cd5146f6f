"""A real checkpoint that is small enough for tests: two Qwen2 layers with random weights.

Its tokenizer is a byte-level BPE made here, with `<think>` and `</think>` as one token each, as
Rank1's checkpoints have them, or without.
"""

from pathlib import Path

WORDS = (" true", " false", " the", " query", " passage", " relevant", "think", "</", "<", ">")


def build_tiny_model(folder: Path, *, think_tokens: bool = True, seed: int = 0) -> Path:
    """Write the checkpoint and its tokenizer to `folder`, and return it."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = _build_tokenizer(think_tokens=think_tokens)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        initializer_range=0.3,
        tie_word_embeddings=False,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def _build_tokenizer(*, think_tokens: bool):  # noqa: ANN202 - transformers is imported late
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"])
    tokenizer.train_from_iterator([" ".join(WORDS) * 50, *(word * 50 for word in WORDS)], trainer)
    if think_tokens:
        tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in ("<think>", "</think>")])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<|endoftext|>")

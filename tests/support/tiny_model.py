"""A real checkpoint that is small enough for tests: two Qwen2 layers, taught Rank1's form.

It reasons in a sentence or two, writes `</think>` and then " true" or " false". The test makes it in a few seconds.
Its tokenizer is a byte-level BPE. `<think>` and `</think>` are one token each, as in Rank1's checkpoints, or several.
"""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa

from rank1_batch.judging.prompts import RANK1_TEMPLATE

WORDS = ("red", "green", "blue", "stone", "river", "bird", "house", "lamp", "winter", "music")
STEPS, BATCH, LENGTH = 200, 16, 72


def build_tiny_model(folder: Path, *, think_tokens: bool = True) -> Path:
    """Write the checkpoint and its tokenizer to `folder`, and return it.

    Training leaves padding and truncation set in tokenizer.json, as in some published checkpoints.
    """
    import torch

    tokenizer = build_tokenizer(think_tokens=think_tokens)
    torch.manual_seed(0)
    model = _build_layers(tokenizer)
    _train(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


ROLES = (
    "{{ (messages | selectattr('role', 'eq', 'system') | map(attribute='content') | first) or 'No instruction.' }}"
    "<|query|>{{ messages | selectattr('role', 'eq', 'query') | map(attribute='content') | first }}"
    "<|document|>{{ messages | selectattr('role', 'eq', 'document') | map(attribute='content') | first }}<|answer|>"
)


def build_tiny_cross_encoder(folder: Path, instruction: str) -> Path:
    """Write a causal cross-encoder of random weights, as sentence-transformers saves it, and return its folder."""
    import torch
    from sentence_transformers import CrossEncoder
    from tokenizers import AddedToken

    tokenizer = build_tokenizer(think_tokens=False)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in ("yes", "no")])
    marks = [AddedToken(text, normalized=False, special=True) for text in ("<|query|>", "<|document|>", "<|answer|>")]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.chat_template, tokenizer.padding_side = ROLES, "left"
    torch.manual_seed(1)
    model = _build_layers(tokenizer, initializer_range=0.5)  # far from equal scores
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    built = CrossEncoder(str(folder / "model"), device="cpu", prompts={"find": instruction}, default_prompt_name="find")
    built.save_pretrained(str(folder / "saved"))
    return folder / "saved"


def tiny_pairs(count: int, seed: int = 1) -> pa.Table:
    """Pairs in the words of the tiny model: 20 candidates a query, half of them relevant. `seed` makes the ids."""
    chance = random.Random(seed)
    rows = [(row // 20, *_make_pair(chance, WORDS[row // 20 % len(WORDS)])) for row in range(count)]
    return pa.table(
        {
            "query_id": [f"q{seed}-{query}" for query, *_ in rows],
            "query": [query for _, query, _ in rows],
            "doc_id": [f"d{seed}-{row}" for row in range(count)],
            "passage": [passage for *_, passage in rows],
            "first_stage_rank": pa.array([row % 20 + 1 for row in range(count)], pa.int32()),
        }
    )


def number_pairs(count: int) -> pa.Table:
    """Pairs that all differ: the passage of row 7 is "passage number 7 of 100"."""
    numbers = range(count)
    return pa.table(
        {
            "query_id": [f"q{row // 20}" for row in numbers],
            "query": [f"what is known about {row // 20}" for row in numbers],
            "doc_id": [f"d{row}" for row in numbers],
            "passage": [f"passage number {row} of {count}" for row in numbers],
        }
    )


def _make_pair(chance: random.Random, word: str) -> tuple[str, str]:
    others = [other for other in WORDS if other != word]
    passage = chance.sample(others, 4)
    if chance.random() < 0.5:
        passage[chance.randrange(4)] = word
    return word, " ".join(passage)


def _make_text(chance: random.Random) -> str:
    word = chance.choice(WORDS)
    _, passage = _make_pair(chance, word)
    known = passage.split()
    sentences = [f"It asks for {word}.", f"I read {' and '.join(known[: chance.randint(1, 4)])}."]
    reasoning = " ".join(sentences[: chance.randint(1, 2)])
    prompt = RANK1_TEMPLATE.format(query=word, passage=passage)
    return f"{prompt}\n{reasoning}\n</think> {'true' if word in known else 'false'}"


def build_tokenizer(*, think_tokens: bool) -> Any:
    """A byte-level tokenizer of WORDS. `<think>` and `</think>` are one token each if asked for."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    chance = random.Random(2)
    tokenizer.train_from_iterator([_make_text(chance) for _ in range(200)], trainer)
    if think_tokens:
        marks = [AddedToken(text, normalized=False, special=True) for text in ("<think>", "</think>")]
        tokenizer.add_special_tokens(marks)
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, pad_token=end)


def _build_layers(tokenizer: Any, **more: Any) -> Any:
    """Two Qwen2 layers of random weights for the vocabulary of a tokenizer."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

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
        pad_token_id=tokenizer.pad_token_id,
        **more,
    )
    return Qwen2ForCausalLM(config)


def _train(model: Any, tokenizer: Any) -> None:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # with matrices this small, threads only wait for each other
    chance = random.Random(3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        texts = [_make_text(chance) + tokenizer.eos_token for _ in range(BATCH)]
        batch = tokenizer(texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        loss = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.set_num_threads(threads)

"""The demo model's lessons are honest, and what it is measured on is not among them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.paths import ROOT
from tools.demo_model.split import choose_part
from tools.demo_model.traces import compose_trace, content_words, coverage, find_terms, stem, weigh_stems

DATA = ROOT / "tools" / "demo_model" / "data"
LESSONS = pq.read_table(DATA / "train.parquet").to_pylist()
HELD_OUT = pq.read_table(DATA / "held_out.parquet").to_pylist()
WORDS = st.sampled_from(
    ["Gene", "genes", "binds", "the", "X-ray", "a", "3.5%", "(ALDH1),", "cancer?", "walking", "walks."]
)
TEXTS = st.lists(WORDS, min_size=1).map(" ".join)


@given(TEXTS, TEXTS)
def test_a_trace_quotes_nothing_that_the_passage_does_not_say(query: str, passage: str) -> None:
    trace = compose_trace(query, passage, {})
    assert trace == compose_trace(query, passage, {})
    for quote in re.findall(r'"([^"]+)"', trace):
        assert quote in passage


@given(TEXTS, TEXTS)
def test_a_term_is_met_exactly_where_the_passage_has_its_word(query: str, passage: str) -> None:
    stems = {stem(part) for word in passage.split() for part in (word, *re.split(r"[-/\u2013]", word))}
    terms = find_terms(query, passage, {})
    assert all((term.quote is not None) == (stem(term.word) in stems) for term in terms)
    assert 0 <= coverage(terms) <= 1


@pytest.mark.parametrize(("word", "other"), [("mutations", "Mutation"), ("induced", "inducing"), ("studies", "study")])
def test_forms_of_a_word_meet(word: str, other: str) -> None:
    assert stem(word) == stem(other)


def test_different_words_do_not_meet() -> None:
    assert len({stem(word) for word in ("gene", "cancer", "cell", "AMPK", "H2A", "H2A.Z")}) == 6


def test_what_the_model_is_measured_on_is_no_lesson() -> None:
    """No held-out claim is learnt from, nor any passage that is relevant to one."""
    held_out = {row["query"] for row in HELD_OUT}
    assert {choose_part(row["query_id"]) for row in HELD_OUT} == {"held_out"}
    assert not held_out & {row["query"] for row in LESSONS}
    relevant = {start_of(row["passage"]) for row in HELD_OUT if row["relevant"]}
    assert not [row for row in LESSONS if any(start in row["passage"] for start in relevant)]


def test_the_examples_claims_are_held_out_too() -> None:
    lines = (ROOT / "examples" / "scifact" / "queries.jsonl").read_text().splitlines()
    assert {choose_part(json.loads(line)["_id"]) for line in lines} == {"held_out"}


def test_lessons_are_half_true() -> None:
    assert 0.45 < sum(row["label"] for row in LESSONS) / len(LESSONS) < 0.55


def test_the_reasoning_of_lessons_is_short_and_most_names_a_word_of_the_query_and_one_of_the_passage() -> None:
    some, named = LESSONS[::7], 0
    weights = weigh_stems(row["passage"] for row in some)
    for row in some:
        text = compose_trace(row["query"], row["passage"], weights)
        assert 10 <= len(text.split()) <= 150
        trace, query, passage = (set(map(stem, content_words(text))) for text in (text, row["query"], row["passage"]))
        named += bool(trace & query) and bool(trace & (passage - query))
    assert named / len(some) > 0.9


def start_of(passage: str) -> str:
    return " ".join(passage.split()[:12])


@pytest.mark.parametrize("script", ["build", "evaluate", "train"])
def test_each_script_starts(script: str) -> None:
    pytest.importorskip("torch", reason="torch comes with the cpu extra")
    command = [sys.executable, f"tools/demo_model/{script}.py", "--help"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": "."}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"usage" in done.stdout


def test_the_balanced_pairs_are_as_many_relevant_as_not() -> None:
    balanced = [row["relevant"] for row in HELD_OUT if row["balanced"]]
    assert sum(balanced) * 2 == len(balanced) > 200


def test_packed_weights_come_back_within_half_a_step() -> None:
    torch = pytest.importorskip("torch", reason="torch comes with the cpu extra")
    from tools.demo_model.checkpoints import dequantise_awq, quantise_awq

    torch.manual_seed(0)
    weight = torch.randn(16, 128)
    packed = quantise_awq("", weight)
    back = dequantise_awq(packed["qweight"], packed["qzeros"], packed["scales"])
    step = packed["scales"].float().repeat_interleave(64, dim=0).T
    assert ((back - weight).abs() <= step * 0.51).all()


def test_a_merged_adapter_computes_what_was_trained(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch comes with the cpu extra")
    from transformers import LlamaConfig, LlamaForCausalLM

    from tools.demo_model.lora import ROWS, adapt_model, merge_adapter, save_adapter

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=16, hidden_size=8, intermediate_size=16, num_hidden_layers=10, num_attention_heads=2,
        tie_word_embeddings=True,
    )  # fmt: skip
    student, plain = LlamaForCausalLM(config), LlamaForCausalLM(config)
    plain.load_state_dict(student.state_dict())
    trained = adapt_model(student)
    with torch.no_grad():
        for value in trained.values():
            value.copy_(torch.randn_like(value).bfloat16() / 4)
        student.model.embed_tokens.weight[-2:] = 1.5
    save_adapter(trained | {ROWS: torch.full((2, 8), 1.5)}, tmp_path / "adapter.safetensors", 1)
    untaught = plain(torch.arange(16)[None]).logits
    merge_adapter(plain, tmp_path / "adapter.safetensors")
    with torch.no_grad():
        expected, merged = student(torch.arange(16)[None]).logits, plain(torch.arange(16)[None]).logits
    assert torch.allclose(merged, expected, atol=1e-5)
    assert not torch.allclose(untaught, expected, atol=1e-2)

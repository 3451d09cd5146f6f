"""Every file under `conf/` is composed and checked, as a user would name it."""

import json
import re
from pathlib import Path

import pytest

from rank1_batch.cli.choices import find_conf_folder, list_choices, list_models
from rank1_batch.errors import SettingsError
from rank1_batch.judging.prompts import RANK1_TEMPLATE
from rank1_batch.judging.records import PolicyKind
from rank1_batch.settings import PromptConfig, load_config
from tests.support.paths import DATA

PATHS = ("input.path=pairs", "output.path=judged")
NEEDED = {
    ("model", "custom"): ("model.name=some/checkpoint",),
    ("model", "umbrela"): ("model.name=some/chat-model",),
    ("model", "st"): ("model.name=some/cross-encoder",),
    ("reader", "st"): ("policy=no_think",),
    ("reader", "yes_no"): ("policy=no_think",),
    ("reader", "one_zero"): ("policy=no_think",),
    ("model", "demo"): ("policy.max_thinking_tokens=64",),
    ("model", "demo_full"): ("policy.max_thinking_tokens=64",),
}
"""What a choice leaves to the user, or cannot hold of the defaults."""

CHOICES = [(group, name) for group, names in list_choices().items() for name in names]
JOBS = sorted(file.stem for file in find_conf_folder().glob("*.yaml"))

# The collection of jhu-clsp on Hugging Face, as the README of orionw/rank1 lists it.
FULL = ("0.5b", "1.5b", "3b", "7b", "14b", "32b", "llama3-8b", "mistral-2501-24b")
QUANTISED = ("7b", "14b", "32b", "llama3-8b", "mistral-2501-24b")

REFERENCE_PROMPTS = json.loads((DATA / "rank1_prompts.json").read_text())["prompts"]
PAPER_PROMPTS = json.loads((DATA / "rank1_paper_prompts.json").read_text())
OTHER_WORDS = ("ClimateFEVER", "Touche2020", "BrightRetrieval_pony")
"""Where the paper's words are not those of the code; elsewhere only white space and dashes differ."""
BRIGHT_SUBSETS = (
    "biology", "earth_science", "economics", "psychology", "robotics", "stackoverflow", "sustainable_living",
)  # fmt: skip


def choice_of(checkpoint: str) -> str:
    """The name under `conf/model/`: rank1_0_5b for rank1-0.5b."""
    return re.sub(r"\W", "_", checkpoint)


def problems_of(*overrides: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_config(overrides)
    return caught.value.problems


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_every_choice_composes_and_passes_the_checks(group: str, name: str) -> None:
    load_config([f"{group}={name}", *NEEDED.get((group, name), ()), *PATHS])


def test_the_main_job_needs_no_more_than_its_paths() -> None:
    load_config(PATHS)


def test_no_file_of_settings_is_out_of_reach() -> None:
    folder = find_conf_folder()
    reachable = {Path(group, f"{name}.yaml") for group, name in CHOICES}
    reachable |= {Path(f"{job}.yaml") for job in JOBS}
    assert {file.relative_to(folder) for file in folder.rglob("*") if file.is_file()} == reachable


@pytest.mark.parametrize("size", FULL)
def test_every_full_checkpoint_of_rank1_is_a_choice(size: str) -> None:
    model = load_config([f"model={choice_of(f'rank1-{size}')}", *PATHS]).model
    assert (model.name, model.dtype, model.quantization) == (f"jhu-clsp/rank1-{size}", "bfloat16", None)


@pytest.mark.parametrize("size", QUANTISED)
def test_every_awq_checkpoint_is_a_choice_and_leaves_its_method_to_the_engine(size: str) -> None:
    model = load_config([f"model={choice_of(f'rank1-{size}-awq')}", *PATHS]).model
    assert (model.name, model.dtype, model.quantization) == (f"jhu-clsp/rank1-{size}-awq", "float16", None)


def test_every_checkpoint_says_how_large_it_is_and_which_gpu_holds_it() -> None:
    """--help reads it from the first lines of the files."""
    models = [model for model in list_models() if model.checkpoint]
    assert {model.name for model in models} == {
        *(choice_of(f"rank1-{size}") for size in (*FULL, *(f"{size}-awq" for size in QUANTISED))),
        *(f"qwen3_reranker_{size}" for size in ("0_6b", "4b", "8b")),
        *(f"mxbai_rerank_{size}_v2" for size in ("base", "large")),
    }
    assert all(model.weights and model.gpu for model in models)


def prompt_of(choice: str) -> PromptConfig:
    return load_config([f"prompt={choice}", *PATHS]).prompt


def prompt_choice(dataset: str) -> str:
    """The reference's name of a data set, as a choice: bright_pony for BrightRetrieval_pony."""
    return dataset.replace("BrightRetrieval", "bright").lower()


@pytest.mark.parametrize("dataset", REFERENCE_PROMPTS)
def test_every_data_set_prompt_is_letter_for_letter_that_of_the_reference(dataset: str) -> None:
    choice = prompt_choice(dataset)
    assert prompt_of(choice) == PromptConfig(choice, 1, RANK1_TEMPLATE, REFERENCE_PROMPTS[dataset])


@pytest.mark.parametrize("dataset", OTHER_WORDS)
def test_the_papers_prompt_is_a_choice_of_its_own_where_its_words_differ(dataset: str) -> None:
    choice = f"{prompt_choice(dataset)}_paper"
    assert prompt_of(choice) == PromptConfig(choice, 1, RANK1_TEMPLATE, PAPER_PROMPTS[dataset])


def test_the_papers_other_prompts_have_the_words_of_the_reference() -> None:
    def words(text: str) -> list[str]:
        return text.replace("\N{EN DASH}", "--").split()

    differing = [name for name, text in PAPER_PROMPTS.items() if words(text) != words(REFERENCE_PROMPTS[name])]
    assert set(differing) == set(OTHER_WORDS)


@pytest.mark.parametrize("choice", ["plain", "msmarco", "trec_dl", "nevir", "followir"])
def test_sets_without_a_prompt_of_their_own_are_asked_plainly(choice: str) -> None:
    """The same id too: an output that was judged under one of these names goes on under another."""
    assert prompt_of(choice) == PromptConfig("plain", 1, RANK1_TEMPLATE, None)


@pytest.mark.parametrize("subset", BRIGHT_SUBSETS)
def test_a_subset_of_bright_without_a_prompt_of_its_own_has_that_of_bright(subset: str) -> None:
    assert prompt_of(f"bright_{subset}") == prompt_of("bright")


def test_different_prompts_have_different_ids() -> None:
    prompts = [prompt_of(choice) for choice in list_choices()["prompt"]]
    by_id = {prompt.id: prompt for prompt in prompts}
    assert all(by_id[prompt.id] == prompt for prompt in prompts)


def test_a_choice_brings_its_values() -> None:
    config = load_config(["model=rank1_32b", "policy=no_think", "engine=vllm_cpu", *PATHS])
    assert (config.model.name, config.policy.kind.name, config.engine.gpus) == ("jhu-clsp/rank1-32b", "NO_THINK", 0)


@pytest.mark.parametrize(
    ("misspelt", "wrong", "right"),
    [
        ("engine.max_num_seq=64", "engine.max_num_seq", "engine.max_num_seqs"),
        ("policy.max_thinking_token=64", "policy.max_thinking_token", "policy.max_thinking_tokens"),
        ("modle=rank1_7b", "modle", "model"),
        ("engin.gpus=2", "engin", "engine"),
        ("+engine.max_num_seq=64", "engine.max_num_seq", "engine.max_num_seqs"),
        ("gates.warn.close=0.1", "gates.warn.close", "gates.warn.closed"),
        ("+gates.warn.close=0.1", "gates.warn.close", "gates.warn.closed"),
        ("input.pth=pairs", "input.pth", "input.path"),
    ],
)
def test_a_misspelt_setting_is_refused_with_the_right_word(misspelt: str, wrong: str, right: str) -> None:
    (problem,) = problems_of(misspelt, *PATHS)
    assert problem.startswith(f"{wrong}: no such setting")
    assert f"did you mean {right}?" in problem


@pytest.mark.parametrize(
    ("misspelt", "right"),
    [
        ("model=rank1_7b_awk", "rank1_7b_awq"),
        ("engine=vlm", "vllm"),
        ("policy=nothink", "no_think"),
        ("prompt=plane", "plain"),
    ],
)
def test_a_misspelt_choice_is_refused_with_the_right_word_and_all_there_are(misspelt: str, right: str) -> None:
    (problem,) = problems_of(misspelt, *PATHS)
    assert problem.startswith(f"{misspelt}: no such choice, did you mean {right}?")
    assert all(name in problem for name in list_choices()[misspelt.split("=", maxsplit=1)[0]])


def test_a_path_that_is_not_given_is_named() -> None:
    assert problems_of("output.path=judged") == ["input.path must be given: input.path=…"]


def test_all_that_is_not_given_is_named_at_once() -> None:
    assert [problem.split()[0] for problem in problems_of()] == ["input.path", "output.path"]


def test_settings_that_contradict_each_other_are_told_together() -> None:
    thinking, replicas = problems_of(
        "policy.max_thinking_tokens=20000", "cluster.replicas=4", "cluster.max_replicas=2", *PATHS
    )
    assert thinking.startswith("policy.max_thinking_tokens is 20000, but must be")
    assert "model.max_model_len (16384)" in thinking
    assert replicas == "cluster.max_replicas (2) is less than cluster.replicas (4)"


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("model.max_model_len=long", "model.max_model_len", "a whole number"),
        ("policy.kind=short", "policy.kind", "one of full, no_think"),
        ("run.fresh=perhaps", "run.fresh", "true or false"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_with_what_it_should_be(override: str, key: str, expected: str) -> None:
    (problem,) = problems_of(override, *PATHS)
    assert key in problem
    assert expected in problem


def test_columns_and_the_engines_own_options_take_new_names_without_ado() -> None:
    config = load_config(["input.columns.query_id=qid", "engine.args.seed=7", "engine.env.A=b", *PATHS])
    assert (config.input.columns, config.engine.args, config.engine.env) == (
        {"query_id": "qid"},
        {"seed": 7},
        {"A": "b"},
    )


@pytest.mark.parametrize(
    ("model", "reader", "prompt"),
    [
        ("qwen3_reranker_0_6b", "yes_no", "qwen3_reranker"),
        ("qwen3_reranker_4b", "yes_no", "qwen3_reranker"),
        ("qwen3_reranker_8b", "yes_no", "qwen3_reranker"),
        ("mxbai_rerank_base_v2", "one_zero", "mxbai_rerank_v2"),
        ("mxbai_rerank_large_v2", "one_zero", "mxbai_rerank_v2"),
        ("rank1_7b", "rank1", "plain"),
    ],
)
def test_the_name_of_a_model_brings_its_reader_its_prompt_and_its_policy(model: str, reader: str, prompt: str) -> None:
    config = load_config([f"model={model}", *PATHS])
    assert (config.reader.id, config.prompt.id) == (reader, prompt)
    assert config.policy.kind == (PolicyKind.FULL if reader == "rank1" else PolicyKind.NO_THINK)


def test_what_a_user_names_goes_before_what_the_model_brings() -> None:
    config = load_config(["prompt=qwen3_reranker_vllm", "model=qwen3_reranker_4b", *PATHS])
    assert (config.reader.id, config.prompt.id) == ("yes_no", "qwen3_reranker_vllm")


def test_a_model_that_answers_without_reasoning_is_not_asked_to_reason() -> None:
    (problem,) = problems_of("model=qwen3_reranker_4b", "policy=full", *PATHS)
    assert problem.endswith("the answers of reader=yes_no come without: take policy=no_think")

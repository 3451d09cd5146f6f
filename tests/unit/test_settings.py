"""The checks of settings and what the core gets of them; `test_conf.py` composes the files."""

import math
from pathlib import Path
from typing import Any

import pytest

from rank1_batch.judging.prompts import RANK1_TEMPLATE
from rank1_batch.judging.records import Policy, PolicyKind
from rank1_batch.settings import (
    GateLimits,
    ReaderConfig,
    RerankConfig,
    build_policy,
    check_config,
    find_stall_s,
    input_paths,
    lies_inside,
)


def good_config() -> RerankConfig:
    config = RerankConfig()
    config.model.name, config.model.max_model_len = "jhu-clsp/rank1-7b", 16384
    config.prompt.id, config.prompt.template = "plain", RANK1_TEMPLATE
    config.input.path, config.output.path = "s3://bucket/pairs", "s3://bucket/judged"
    config.reader = ReaderConfig("rank1", 1, {" true": 1.0, " false": 0.0}, think_end="</think>")
    return config


def changed(config: RerankConfig, key: str, value: Any) -> RerankConfig:
    group, _, name = key.partition(".")
    setattr(getattr(config, group), name, value)
    return config


def test_an_engine_is_waited_for_longer_the_longer_a_trace_may_be() -> None:
    config = good_config()
    assert find_stall_s(config) == 600 + 8192 / 4
    assert find_stall_s(changed(config, "run.stall_s", 5.0)) == 5.0


def test_good_settings_have_no_problems() -> None:
    assert check_config(good_config()) == []


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("prompt.template", "{query}", "passage"),
        ("prompt.dataset_prompt", "Claim:", "FILL_QUERY_HERE"),
        ("engine.kind", "llama.cpp", "'llama.cpp', but must be one of vllm, scripted"),
        ("engine.max_num_seqs", 0, "engine.max_num_seqs is 0"),
        ("engine.args", {"max_num_seqs": 3}, "engine.args.max_num_seqs has a setting of its own"),
        ("engine.args", {"hf_token": "x"}, "on every node, set the variable HF_TOKEN"),
        ("engine.args", {"some_api_key": "x"}, "on every node, set a variable of the environment"),
        ("run.versions", "mix", "run.versions is 'mix', but must be warn or refuse"),
        ("engine.args", {"scheduling_policy": "fcfs"}, "engine.args.scheduling_policy"),
        ("engine.max_num_batched_tokens", 0, "engine.max_num_batched_tokens is 0, but must be at least 1"),
        ("engine.gpus", -1, "engine.gpus is -1, but must be at least 0"),
        ("engine.cpus", 0.0, "engine.cpus is 0, but must be over 0"),
        ("engine.cpus", -1.0, "engine.cpus is -1, but must be over 0"),
        ("engine.cpus", math.nan, "engine.cpus is nan, but must be over 0"),
        ("model.name", " ", "model.name is empty: give a Hugging Face id or a folder"),
        ("model.name", "liuwenhan/reasonrank-7B", "ReasonRank ranks a list in one prompt"),
        ("model.name", "hltcoe/Rank-K-32B", "Rank-K ranks a list in one prompt"),
        ("run.grace_s", -1.0, "run.grace_s is -1, but must be at least 0"),
        ("run.log_every_s", 0.0, "run.log_every_s is 0, but must be over 0"),
        ("run.stall_s", 0.0, "run.stall_s is 0, but must be over 0"),
        ("policy.max_thinking_tokens", 0, "policy.max_thinking_tokens is 0"),
        ("policy.max_thinking_tokens", 16384, "less than model.max_model_len (16384)"),
        ("input.path", 3, "input.path must be a path or a list of paths"),
        ("input.path", "", "input.path must be a path or a list of paths"),
        ("input.path", ["a", ""], "input.path must be a path or a list of paths"),
        ("input.path", [], "input.path must be a path or a list of paths"),
        ("input.on_bad_file", "ignore", "'ignore', but must be fail or skip"),
        ("input.columns", {"docid": "id"}, "input.columns.docid: no such column; there are candidates, doc_id"),
        ("input.keep", ["lang", "score"], "input.keep: score is a column of the output already"),
        ("input.unit_rows", 0, "input.unit_rows is 0"),
        ("output.max_error_rate", 1.5, "output.max_error_rate is 1.5"),
        ("cluster.replicas", 0, "cluster.replicas is 0"),
        ("gates.fail", GateLimits(closed=31), "gates.fail.closed is 31, but must be a share between 0 and 1"),
        ("cluster.max_replicas", 0, "cluster.max_replicas (0) is less than cluster.replicas (1)"),
    ],
)
def test_a_setting_that_cannot_work_is_told_with_its_name_and_value(key: str, value: Any, problem: str) -> None:
    (found,) = check_config(changed(good_config(), key, value))
    assert problem in found


def test_all_problems_are_told_together() -> None:
    config = good_config()
    for key in ("engine.max_num_seqs", "input.unit_rows", "cluster.replicas"):
        changed(config, key, 0)
    assert len(check_config(config)) == 3


@pytest.mark.parametrize(
    ("given", "output", "inside"),
    [
        ("pairs", "pairs", True),
        ("pairs/", "pairs/judged", True),
        ("pairs", "./pairs/judged", True),
        (["a", "pairs"], "pairs/judged/", True),
        ("s3://bucket/pairs", "s3://bucket/pairs/judged", True),
        ("s3://bucket/pairs", "s3://bucket/pairs-judged", False),
        ("pairs", "judged", False),
    ],
)
def test_output_inside_the_input_would_be_read_as_input(given: str | list[str], output: str, inside: bool) -> None:
    config = changed(changed(good_config(), "input.path", given), "output.path", output)
    assert len(check_config(config)) == inside


def test_an_input_folder_may_have_brackets_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "br[1]").mkdir()
    assert not lies_inside(str(tmp_path / "judged"), str(tmp_path / "br[1]"))
    assert lies_inside(str(tmp_path / "br[1]" / "judged"), str(tmp_path / "br[1]"))
    assert lies_inside(str(tmp_path / "judged"), str(tmp_path / "br[2]"))


def test_without_thinking_a_budget_is_refused() -> None:
    config = changed(good_config(), "policy.kind", PolicyKind.NO_THINK)
    assert check_config(config) == []
    assert check_config(changed(config, "policy.max_thinking_tokens", 64)) == [
        "policy.max_thinking_tokens is 64, but policy=no_think has no reasoning: leave one of them out"
    ]


def test_the_policy_has_all_that_the_settings_say_about_asking() -> None:
    config = changed(good_config(), "prompt.dataset_prompt", "Claim: FILL_QUERY_HERE")
    assert build_policy(config) == Policy(PolicyKind.FULL, 8192, RANK1_TEMPLATE, "Claim: FILL_QUERY_HERE")


@pytest.mark.parametrize(("given", "paths"), [("a", ["a"]), (["a", "b"], ["a", "b"])])
def test_one_input_path_or_several_are_a_list(given: Any, paths: list[str]) -> None:
    assert input_paths(changed(good_config(), "input.path", given).input) == paths

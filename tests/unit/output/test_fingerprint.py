import functools
import json
from pathlib import Path

import pytest

from rank1_batch.errors import RefusedError
from rank1_batch.output.claims import list_differences
from rank1_batch.output.fingerprint import (
    Judge,
    build_fingerprint,
    check_output,
    claim_output,
    find_judge,
    find_model_commit,
    tag_run,
)
from rank1_batch.settings import RerankConfig, load_config
from rank1_batch.storage.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "output"))


@functools.cache
def settings(*overrides: str) -> RerankConfig:
    return load_config(["input.path=in", "output.path=out", "engine=scripted", *overrides])


def begin(store: Store, fingerprint: dict[str, object], *, fresh: bool = False) -> None:
    """What a run does before its first unit."""
    check_output(store, fingerprint, fresh=fresh)
    claim_output(store, fingerprint)


def test_a_fresh_start_wants_an_empty_place(store: Store) -> None:
    begin(store, {"a": 1}, fresh=True)
    with pytest.raises(RefusedError, match="fresh"):
        begin(store, {"a": 1}, fresh=True)


@pytest.mark.parametrize(
    "override",
    [
        "model=rank1_7b_awq",
        "model.revision=abc",
        "model.dtype=float32",
        "model.quantization=awq",
        "model.max_model_len=12000",
        "prompt.version=2",
        "prompt.dataset_prompt=Claim: FILL_QUERY_HERE",
        "policy=no_think",
        "policy.max_thinking_tokens=7",
        "input.columns={passage: body}",
        "input.keep=[lang]",
        "engine.args={seconds_per_token: 1}",
        "engine.gpus=2",
        "engine.env={VLLM_ATTENTION_BACKEND: FLASHINFER}",
    ],
)
def test_whatever_shapes_the_rows_is_in_the_fingerprint(override: str) -> None:
    base = settings("model=custom", "model.name=some/model")
    other = settings("model=custom", "model.name=some/model", override)
    assert list_differences(build_fingerprint(base), build_fingerprint(other))


def test_what_cannot_change_a_score_may_change_between_runs() -> None:
    other = settings("cluster.replicas=4", "run.log_every_s=1", "output.max_error_rate=1", "input.unit_rows=7")
    assert list_differences(build_fingerprint(settings()), build_fingerprint(other)) == []


def test_a_fingerprint_can_be_written_and_read_as_it_is() -> None:
    fingerprint = build_fingerprint(settings())
    assert json.loads(json.dumps(fingerprint)) == fingerprint


def test_a_local_model_is_known_by_its_content_not_by_its_place(tmp_path: Path) -> None:
    fingerprints = []
    for place, heads in (("here", 8), ("there", 8), ("else", 16)):
        folder = tmp_path / place / "model"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"heads": heads}))
        (folder / "model.safetensors").write_bytes(b"weights")
        fingerprints.append(build_fingerprint(settings("model=custom", f"model.name={folder}")))
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_an_argument_that_moves_no_score_may_change_after_an_out_of_memory() -> None:
    other = settings(
        "engine.args={gpu_memory_utilization: 0.8, master_port: 29501, disable_log_stats: true}",
        "engine.env={VLLM_CPU_KVCACHE_SPACE: '4', HF_HOME: /models}", "engine.max_num_seqs=16",
    )  # fmt: skip
    assert list_differences(build_fingerprint(settings()), build_fingerprint(other)) == []


def test_of_the_environment_only_hashes_are_kept_and_of_secrets_nothing() -> None:
    env = "engine.env={HF_TOKEN: hf_abcdefgh, AWS_SECRET_ACCESS_KEY: abcdefgh, VLLM_USE_X: abcdefgh}"
    engine = build_fingerprint(settings(env))["engine"]
    assert engine["env"].keys() == {"VLLM_USE_X"}
    assert "abcdefgh" not in json.dumps(engine)


def test_a_branch_stands_for_one_commit_as_long_as_a_job_takes() -> None:
    """The hub is not asked again: the branch may have moved, or the hub may be away."""
    config = load_config(["input.path=in", "output.path=out", "model=custom", "model.name=some/model"])
    claim = build_fingerprint(config, "a" * 40)
    assert claim["model"]["commit"] == "a" * 40
    assert find_model_commit(config, claim) == ("a" * 40, "with which this job was begun")
    config.model.revision = "b" * 40
    assert find_model_commit(config, claim) == ("b" * 40, "as model.revision says")
    assert find_model_commit(settings(), None) is None


def test_a_local_model_has_no_commit(tmp_path: Path) -> None:
    config = load_config(["input.path=in", "output.path=out", "model=custom", f"model.name={tmp_path}"])
    assert find_model_commit(config, None) is None


PLACES = ["input.path=in", "output.path=out"]


def test_a_job_names_its_model_revision_engine_and_policy() -> None:
    config = load_config(["model=rank1_7b_awq", "model.revision=0123abc", "policy=no_think", *PLACES])
    judge = find_judge(build_fingerprint(config))
    assert judge == Judge("jhu-clsp/rank1-7b-awq", "0123abc", "vllm", "no_think")
    assert not judge.is_dry_run
    assert tag_run(judge) == "rank1-7b-awq@0123abc,vllm,no_think"


def test_the_tag_of_a_dry_run_says_so_in_its_first_letters() -> None:
    judge = find_judge(build_fingerprint(load_config(["model=rank1_7b", "engine=scripted", *PLACES])))
    assert judge is not None
    assert judge.is_dry_run
    assert tag_run(judge) == "DRY_RUN,scripted,full"


@pytest.mark.parametrize("name", ["my model", "модель", "a#b\tc"])
def test_a_tag_is_one_field_whatever_the_folder_of_the_model_is_called(name: str) -> None:
    tag = tag_run(Judge(name, None, "vllm", "full"))
    assert tag.isascii()
    assert tag.split() == [tag]


def test_an_output_that_does_not_say_who_judged_has_the_packages_name() -> None:
    assert find_judge({}) is None
    assert tag_run(None) == "rank1_batch"

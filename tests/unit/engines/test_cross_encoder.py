import json
from pathlib import Path
from typing import Any

import pytest

from rank1_batch.engines.cross_encoder import resolve_cross_encoder
from rank1_batch.errors import SettingsError
from rank1_batch.settings import RerankConfig, load_config
from tests.support.tiny_model import build_tokenizer

ANSWER = "{{ messages | selectattr('role', 'eq', 'document') | map(attribute='content') | first }} A:"
QUERY = "Q: {{ messages | selectattr('role', 'eq', 'query') | map(attribute='content') | first }} "
SYSTEM = "{{ (messages | selectattr('role', 'eq', 'system') | map(attribute='content') | first) or 'Judge.' }} "


def write_checkpoint(
    folder: Path, template: str, scoring: dict[str, Any], prompts: dict[str, Any] | None = None
) -> Path:
    tokenizer = build_tokenizer(think_tokens=False)
    tokenizer.add_tokens(["yes", "no"])
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    (folder / "1_LogitScore").mkdir()
    (folder / "1_LogitScore" / "config.json").write_text(json.dumps(scoring))
    modules = [{"path": "", "type": "x.Transformer"}, {"path": "1_LogitScore", "type": "x.LogitScore"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts or {}))
    return folder


def ids(yes: str = "yes", no: str = "no") -> dict[str, int]:
    tokenizer = build_tokenizer(think_tokens=False)
    tokenizer.add_tokens(["yes", "no"])
    return {
        "true_token_id": tokenizer.convert_tokens_to_ids(yes),
        "false_token_id": tokenizer.convert_tokens_to_ids(no),
    }


def resolve(folder: Path) -> RerankConfig:
    return resolve_cross_encoder(load_config(["model=st", f"model.name={folder}", "input.path=a", "output.path=b"]))


@pytest.mark.parametrize(
    ("prompts", "instruction"),
    [(None, "Judge."), ({"prompts": {"web": "Find pages."}, "default_prompt_name": "web"}, "Find pages.")],
)
def test_answers_prompt_and_usual_instruction_come_from_the_files_of_the_checkpoint(
    tmp_path: Path, prompts: dict[str, Any] | None, instruction: str
) -> None:
    config = resolve(write_checkpoint(tmp_path, SYSTEM + QUERY + ANSWER, ids(), prompts))
    assert config.reader.answers == {"yes": 1.0, "no": 0.0}
    assert config.prompt.template == "{instruction} Q: {query} {passage} A:"
    assert config.prompt.instruction == instruction


def test_a_template_without_an_instruction_has_no_place_for_one(tmp_path: Path) -> None:
    prompt = resolve(write_checkpoint(tmp_path, QUERY + ANSWER, ids())).prompt
    assert (prompt.template, prompt.instruction) == ("Q: {query} {passage} A:", None)


@pytest.mark.parametrize(
    ("template", "scoring", "problem"),
    [
        (QUERY + ANSWER, {"true_token_id": 3, "false_token_id": None}, "the logit of a single token"),
        (QUERY + ANSWER, {"true_token_id": 3}, "'false_token_id'"),
        (QUERY, ids(), "prompt.template needs {passage} exactly once"),
    ],
)
def test_a_checkpoint_that_cannot_be_asked_is_refused_with_the_reason(
    tmp_path: Path, template: str, scoring: dict[str, Any], problem: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve(write_checkpoint(tmp_path, template, scoring))
    assert problem in "\n".join(caught.value.problems)
    assert str(tmp_path) in caught.value.problems[0]


def test_a_folder_that_is_no_cross_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"is not a causal cross-encoder .*modules\.json"):
        resolve(tmp_path)


def test_other_models_keep_their_settings() -> None:
    config = load_config(["input.path=a", "output.path=b"])
    assert resolve_cross_encoder(config) is config

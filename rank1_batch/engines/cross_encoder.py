"""Reads how a causal cross-encoder of sentence-transformers (5.4 and later) asks, and which tokens are its answers.

`modules.json` names the folder of its LogitScore module, whose config has the ids of the two tokens. The prompt is its
chat template, with the roles `query` and `document`, and a system message for the instruction.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from rank1_batch.engines.checkpoint import find_folder
from rank1_batch.errors import SettingsError
from rank1_batch.judging.prompts import check_template
from rank1_batch.settings import ModelConfig, RerankConfig

SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model")
"""Patterns of the files that are needed: all but the weights."""


def resolve_cross_encoder(config: RerankConfig) -> RerankConfig:
    """The settings with the answers and the prompt of the checkpoint, if the reader takes them from there.

    Raises SettingsError if the checkpoint is not a causal cross-encoder.
    """
    if not config.reader.checkpoint:
        return config
    folder = find_folder(config.model) or _download(config.model)
    try:
        answers, (template, instruction) = _read_answers(folder), _read_prompt(folder)
    except (OSError, KeyError, ValueError) as error:
        problem = f"is not a causal cross-encoder of sentence-transformers 5.4 or later ({error})"
        raise SettingsError([f"model.name: {config.model.name} {problem}"]) from error
    if problems := check_template(template):
        raise SettingsError([f"model.name: {config.model.name}: its chat template cannot be used", *problems])
    return replace(
        config,
        reader=replace(config.reader, answers=answers),
        prompt=replace(config.prompt, template=template, instruction=instruction),
    )


def _download(model: ModelConfig) -> Path:
    """The folder of a hub's model, without its weights."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model.name, revision=model.revision, allow_patterns=list(SMALL_FILES)))
    except Exception as error:  # the hub's client has no base class for what may go wrong
        reason = str(error).partition("\n")[0]
        raise SettingsError(
            [f"model.name: the files of {model.name} cannot be read from the hub ({reason})"]
        ) from error


def _read_answers(folder: Path) -> dict[str, float]:
    """The two answers and their values."""
    modules = json.loads((folder / "modules.json").read_text())
    path = next((module["path"] for module in modules if module["type"].endswith(".LogitScore")), None)
    if path is None:
        raise ValueError("modules.json has no LogitScore module")
    settings = json.loads((folder / path / "config.json").read_text())
    ids = settings["true_token_id"], settings["false_token_id"]
    if None in ids:
        raise ValueError("its score is the logit of a single token, which has no probability to compare with")
    tokenizer = _load_tokenizer(folder)
    return {tokenizer.decode([token]): value for token, value in zip(ids, (1.0, 0.0), strict=True)}


def _read_prompt(folder: Path) -> tuple[str, str | None]:
    """The chat template with {query} and {passage}, and {instruction} if it shows one; and the usual instruction."""
    settings = _read_optional(folder / "config_sentence_transformers.json")
    usual = settings.get("prompts", {}).get(settings.get("default_prompt_name") or "")
    plain, shown = _render(folder, usual), _render(folder, "{instruction}")
    if "{instruction}" not in shown:
        return plain, None
    before, _, after = shown.partition("{instruction}")
    if plain.startswith(before) and plain.endswith(after) and len(plain) > len(before) + len(after):
        return shown, plain[len(before) : len(plain) - len(after)]
    return plain, None


def _render(folder: Path, instruction: str | None) -> str:
    chat = [{"role": "query", "content": "{query}"}, {"role": "document", "content": "{passage}"}]
    if instruction:
        chat = [{"role": "system", "content": instruction}, *chat]
    options = _read_optional(folder / "sentence_bert_config.json").get("processing_kwargs", {})
    return str(_load_tokenizer(folder).apply_chat_template(chat, tokenize=False, **options.get("chat_template", {})))


def _read_optional(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text())) if file.exists() else {}


def _load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)

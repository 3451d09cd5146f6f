"""_rank1/settings.json: the settings of a run, so that a later command need not repeat them.

It leaves out the output path, the settings of `run`, and variables of `engine.env` that may hold secrets.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rank1_batch.errors import SettingsError
from rank1_batch.output.fingerprint import SECRET
from rank1_batch.output.layout import SETTINGS_PATH
from rank1_batch.settings import RerankConfig, input_paths
from rank1_batch.storage.documents import read_document, to_json
from rank1_batch.storage.store import Store, absolute_url, open_store, put_over, read_bytes, see_files

LIBRARIES = ("VLLM_", "OMP_", "MKL_", "TORCH_", "PYTORCH_", "NCCL_", "CUDA_", "HF_HUB_")
"""The beginnings of variables that libraries read. Others may hold anything."""

GROUPS = ("model", "engine", "reader", "prompt", "policy", "input", "output", "cluster", "gates", "golden")


def record_settings(store: Store, config: RerankConfig, seen: Mapping[str, str] | None = None) -> None:
    """Write the settings of this run in place of those of an earlier run."""
    plain: Any = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    recorded = {group: plain[group] for group in GROUPS}
    recorded["engine"]["env"] = {name: value for name, value in config.engine.env.items() if is_recorded(name)}
    del recorded["output"]["path"]
    # A later command may start in another folder.
    paths = [absolute_url(path) for path in input_paths(config.input)]
    recorded["input"]["path"] = paths if isinstance(config.input.path, list) else paths[0]
    data = to_json(recorded)
    if read_bytes(store, SETTINGS_PATH) != data:
        put_over(store, SETTINGS_PATH, data, see_files(store, [SETTINGS_PATH]) if seen is None else seen)


def is_recorded(variable: str) -> bool:
    """Whether a variable of `engine.env` is recorded: a library reads it, and its name is not like that of a secret."""
    return variable.startswith(LIBRARIES) and SECRET.search(variable) is None


def restore_settings(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The settings of the last run at `output.path`. The `overrides` win over them.

    Raises SettingsError if there is no job.
    """
    if OmegaConf.is_missing(config.output, "path"):
        return config
    store = open_store(config.output.path)
    found = read_document(store, SETTINGS_PATH, dict[str, Any])
    if found is None:
        raise SettingsError([f"output.path: {store.url} holds no job (no {SETTINGS_PATH})"])
    OmegaConf.set_struct(config, False)  # the keys of engine.args and input.columns are free
    restored = OmegaConf.merge(config, found)
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0].strip("'\"")
        OmegaConf.update(restored, key, OmegaConf.select(config, key), merge=False)
    return DictConfig(restored)

import json
from pathlib import Path

import pytest

from rank1_batch.output.layout import SETTINGS_PATH
from rank1_batch.output.recorded import record_settings
from rank1_batch.settings import load_config
from rank1_batch.storage.store import open_store, read_bytes


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        ("pairs/*.parquet", "{here}/pairs/*.parquet"),
        ("[pairs,/elsewhere]", ["{here}/pairs", "/elsewhere"]),
        ("s3://bucket/pairs", "s3://bucket/pairs"),
    ],
)
def test_the_input_is_recorded_so_that_it_is_found_from_another_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, recorded: str | list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(["model=custom", "model.name=none", f"input.path={given}", "output.path=judged"])
    store = open_store(config.output.path)
    record_settings(store, config)
    data = read_bytes(store, SETTINGS_PATH)
    assert data is not None
    expected = json.loads(json.dumps(recorded).replace("{here}", str(tmp_path)))
    assert json.loads(data)["input"]["path"] == expected


def test_variables_of_libraries_are_recorded_and_others_and_secrets_are_not(tmp_path: Path) -> None:
    """Without them `jobs.redo` would load the model in another way, or not at all."""
    env = "engine.env={VLLM_CPU_KVCACHE_SPACE: '2', OMP_NUM_THREADS: '1', VLLM_API_KEY: abc, HF_TOKEN: abc, MINE: abc}"
    config = load_config(["model=custom", "model.name=none", "input.path=pairs", f"output.path={tmp_path}", env])
    record_settings(open_store(str(tmp_path)), config)
    recorded = (tmp_path / SETTINGS_PATH).read_text()
    assert json.loads(recorded)["engine"]["env"] == {"VLLM_CPU_KVCACHE_SPACE": "2", "OMP_NUM_THREADS": "1"}
    assert "abc" not in recorded

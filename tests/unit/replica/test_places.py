from dataclasses import replace
from pathlib import Path

import pytest

from rank1_batch.engines.checkpoint import hash_folder
from rank1_batch.output.lease import hold_lease
from rank1_batch.replica.places import absolute_model, find_other_weights, find_unseen
from rank1_batch.settings import ModelConfig
from rank1_batch.storage.store import open_store


def test_a_machine_sees_a_run_where_its_lease_and_its_input_are(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "0.parquet").touch()
    source, output = str(tmp_path / "pairs"), str(tmp_path / "judged")
    with hold_lease(open_store(output), print, takeover=False):
        assert find_unseen(source, "0.parquet", output, "org/model") == []
        elsewhere = str(tmp_path / "elsewhere")
        (run,) = find_unseen(source, "0.parquet", elsewhere, "org/model")
        assert run.startswith(f"this node does not see the run in {elsewhere}")
        (pairs,) = find_unseen(elsewhere, "0.parquet", output, "org/model")
        assert pairs.startswith(f"this node does not see the input {elsewhere}")
    assert len(find_unseen(source, "0.parquet", output, "org/model")) == 1


def test_a_machine_must_have_the_same_checkpoint_as_the_driver(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tokenizer.json").write_text("{}")
    model = ModelConfig(name=str(tmp_path / "model"), max_model_len=100)
    weights = hash_folder(tmp_path / "model")
    assert find_other_weights(model, weights) is None
    (tmp_path / "model" / "tokenizer.json").write_text("[]")
    assert "holds other files than on the machine that started the job" in (find_other_weights(model, weights) or "")
    assert "this node has no folder" in (find_other_weights(replace(model, name="elsewhere"), weights) or "")
    assert find_other_weights(model, None) is None  # a model of the hub


def test_a_machine_without_the_models_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "0.parquet").touch()
    folder, output = str(tmp_path), str(tmp_path / "judged")
    with hold_lease(open_store(output), print, takeover=False):
        assert find_unseen(folder, "0.parquet", output, folder) == []
        missing = f"{folder}/model"
        assert find_unseen(folder, "0.parquet", output, missing) == [
            f"this node does not see the model: there is no {missing}"
        ]


def test_a_folder_of_a_model_gets_its_path_in_full_and_a_name_of_a_hub_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    names = ["org/here", "org/there", "./missing", "~/model", "/model"]
    assert [absolute_model(name) for name in names] == [
        f"{tmp_path}/org/here", "org/there", f"{tmp_path}/missing", "~/model", "/model"
    ]  # fmt: skip

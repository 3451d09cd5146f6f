from dataclasses import replace
from pathlib import Path

from rank1_batch.engines.checkpoint import hash_folder
from rank1_batch.output.lease import hold_lease
from rank1_batch.replica.places import find_other_weights, find_unseen
from rank1_batch.settings import ModelConfig
from rank1_batch.storage.store import open_store


def test_a_machine_sees_a_run_where_its_lease_and_its_input_are(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "0.parquet").touch()
    source, output = str(tmp_path / "pairs"), str(tmp_path / "judged")
    with hold_lease(open_store(output), print, takeover=False):
        assert find_unseen(source, "0.parquet", output) == []
        elsewhere = str(tmp_path / "elsewhere")
        (run,) = find_unseen(source, "0.parquet", elsewhere)
        assert run.startswith(f"this node does not see the run in {elsewhere}")
        (pairs,) = find_unseen(elsewhere, "0.parquet", output)
        assert pairs.startswith(f"this node does not see the input {elsewhere}")
    assert len(find_unseen(source, "0.parquet", output)) == 1


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

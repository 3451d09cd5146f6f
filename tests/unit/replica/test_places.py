from pathlib import Path

from rank1_batch.output.lease import hold_lease
from rank1_batch.replica.places import find_unseen
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

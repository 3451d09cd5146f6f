"""What a run says of units that other versions judged."""

import json

import pytest

from rank1_batch.errors import RefusedError
from rank1_batch.jobs.rerank.mixing import check_versions
from rank1_batch.output.commits import Committed
from rank1_batch.output.counts import Counts
from rank1_batch.versions import scoring_versions


def committed(**versions: str) -> Committed:
    text = json.dumps({name.replace("_", "-"): version for name, version in versions.items()})
    return Committed(Counts(), {}, {text: 3, "{}": 2, json.dumps(scoring_versions()): 4})


def test_units_of_other_versions_are_told() -> None:
    now = scoring_versions()["rank1-batch"]
    assert check_versions(committed(rank1_batch="0.0.1"), "warn") == [
        f"3 units were judged with other versions: rank1-batch 0.0.1, now {now}"
    ]


def test_they_are_refused_where_that_is_asked_for() -> None:
    with pytest.raises(RefusedError, match=r"rank1-batch 0\.0\.1(.|\n)*run\.versions=warn"):
        check_versions(committed(rank1_batch="0.0.1"), "refuse")


def test_a_package_that_this_machine_does_not_have_is_not_compared() -> None:
    """A driver without a GPU has no vLLM."""
    assert check_versions(committed(another="1.0"), "refuse") == []

"""What `jobs.redo` must be given, and what it takes from the run that made the output."""

from collections.abc import Sequence

import pytest
from omegaconf import DictConfig, OmegaConf

from rank1_batch.cli.compose import load_settings
from rank1_batch.errors import SettingsError
from rank1_batch.jobs.redo.settings import JOB, RedoConfig


def load(*words: str) -> RedoConfig:
    def restore(config: DictConfig, _: Sequence[str]) -> DictConfig:
        return DictConfig(OmegaConf.merge(config, {"input": {"path": "pairs of the run"}}))

    return load_settings(words, JOB.name, JOB.schema, JOB.check, restore)


def test_the_pairs_of_the_run_need_not_be_named_again() -> None:
    config = load("output.path=judged", "where=finish = 'closed'")
    assert (config.input.path, config.where) == ("pairs of the run", "finish = 'closed'")


def test_the_output_and_a_condition_must_be_given() -> None:
    with pytest.raises(SettingsError) as caught:
        load()
    assert [problem.split()[0] for problem in caught.value.problems] == ["output.path", "where"]

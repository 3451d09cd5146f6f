"""Settings of any job; `test_conf.py` composes the main job's files and its mistakes."""

from dataclasses import dataclass

import pytest

from rank1_batch.config import RerankConfig
from rank1_batch.errors import SettingsError
from rank1_batch.settings import find_conf_folder, list_choices, load_settings

PATHS = ("input.path=pairs", "output.path=judged")


@dataclass
class OtherSettings(RerankConfig):
    """Another job's, which conf/rerank.yaml serves as well."""

    depth: int = 100


def load(*overrides: str) -> OtherSettings:
    def check(settings: OtherSettings) -> list[str]:
        return ["depth is odd"] if settings.depth % 2 else []

    return load_settings([*PATHS, *overrides], "rerank", OtherSettings, check)


def test_a_job_gets_its_own_dataclass() -> None:
    settings = load("depth=4", "input.columns.query_id=qid")
    assert (settings.depth, settings.input.columns) == (4, {"query_id": "qid"})


def test_what_a_job_finds_wrong_is_told_as_one_error() -> None:
    with pytest.raises(SettingsError) as caught:
        load("depth=3")
    assert caught.value.problems == ["depth is odd"]


@pytest.mark.parametrize("override", ["dept=3", "+dept=3"])
def test_a_misspelt_key_of_its_own_is_told_with_the_right_word(override: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(override)
    assert caught.value.problems == ["dept: no such setting, did you mean depth?"]


def test_choices_are_those_of_the_folder() -> None:
    assert set(list_choices()) == {folder.name for folder in find_conf_folder().iterdir() if folder.is_dir()}

"""The help of a job: its settings by group, their defaults, and the models."""

from dataclasses import dataclass

from rank1_batch.cli.fields import setting
from rank1_batch.cli.help import render_help
from rank1_batch.settings import RerankConfig


@dataclass
class Where:
    """A group."""

    path: str = setting("a folder")
    keep: list[str] = setting("columns to keep", lambda: ["a", "b"])
    names: dict[str, str] = setting("your names", dict)


@dataclass
class Settings:
    """Settings of a job that has no choices."""

    where: Where = setting("where results go", Where)
    share: float = setting("a share", 0.5)
    fresh: bool = setting("begin anew", default=False)
    depth: int | None = setting("so long a phrase that it would not fit on one line of a terminal of eighty", None)


def test_settings_stand_by_group_with_phrase_and_default_and_those_that_must_be_given_are_marked() -> None:
    assert (
        render_help("status", "Does things.", Settings())
        == """\
usage: rank1-batch status [--help | --settings] SETTING=VALUE …

Does things.

A setting with * must be given. The default of a setting stands in brackets.
--settings shows all settings of a command, and starts nothing.

settings
  share  a share [0.5]
  fresh  begin anew [false]
  depth  so long a phrase that it would not fit on one line of a terminal of
         eighty

where: where results go
  where.path *      a folder
  where.keep        columns to keep [a,b]
  where.names.NAME  your names"""
    )


def test_a_group_with_choices_names_them_and_the_models_stand_in_a_table() -> None:
    shown = render_help("rerank", "Judges.", RerankConfig())
    assert "  policy=NAME                 full, no_think; or a YAML file of your own [full]\n" in shown
    assert "  rank1_7b_awq               jhu-clsp/rank1-7b-awq                5.6 GB 24 GB\n" in shown
    assert "  rank1_32b                  jhu-clsp/rank1-32b                  65.5 GB 80 GB\n" in shown

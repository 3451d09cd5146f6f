"""What settings are refused before anything is read."""

import pytest

from rank1_batch.cli.compose import load_settings
from rank1_batch.errors import SettingsError
from rank1_batch.jobs.report.settings import ReportJobConfig, check_report

PATHS = ("output.path=judged", "report.path=report")


def load(*overrides: str) -> ReportJobConfig:
    return load_settings([*PATHS, *overrides], "report", ReportJobConfig, check_report)


def test_two_paths_are_enough() -> None:
    assert load().traces == "all"


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("traces=some", "traces is 'some', but must be one of all, chosen"),
        ("missing_queries=no", "missing_queries is 'no'"),
        ("measures=[]", "measures is empty"),
        ("measures=[nDCK]", "nDCK"),
        ("report.path=judged/report", "report.path lies inside output.path"),
        ("input.path=.", "report.path lies inside the input"),
    ],
)
def test_a_setting_that_cannot_work_is_named(override: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem.replace("[", r"\[")):
        load(override)

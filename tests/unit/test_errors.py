import pytest

from rank1_batch import errors
from rank1_batch.errors import Rank1BatchError, SettingsError


def test_a_settings_error_tells_every_problem_on_a_line_of_its_own() -> None:
    error = SettingsError(["input.path must be given", "cluster.replicas is 0"])
    assert str(error) == "input.path must be given\ncluster.replicas is 0"
    assert error.problems == ["input.path must be given", "cluster.replicas is 0"]


def test_one_except_clause_catches_every_error_of_the_package() -> None:
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert classes
    assert all(issubclass(kind, Rank1BatchError) for kind in classes)


@pytest.mark.parametrize(
    ("name", "exit_code"),
    [("SettingsError", 2), ("BadFileError", 2), ("ErrorRateError", 4), ("StorageError", 5), ("RefusedError", 6)],
)
def test_exit_codes_are_those_that_the_error_tree_promises(name: str, exit_code: int) -> None:
    assert getattr(errors, name).exit_code == exit_code
    assert f"{name} " in (errors.__doc__ or "")
    assert f"exit code {exit_code}" in next(line for line in (errors.__doc__ or "").splitlines() if name in line)

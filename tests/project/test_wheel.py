"""What an installed package holds."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of this checkout."""
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    return zipfile.ZipFile(path)


def names_in(folder: Path) -> Sequence[str]:
    return [file.relative_to(folder).as_posix() for file in folder.rglob("*.*") if file.suffix != ".pyc"]


def test_the_wheel_installs_one_package_with_its_choices(wheel: zipfile.ZipFile) -> None:
    wanted = {f"rank1_batch/{name}" for name in names_in(ROOT / "rank1_batch")}
    wanted |= {f"rank1_batch/conf/{name}" for name in names_in(ROOT / "conf")}
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == wanted


def test_the_wheel_brings_the_command(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "rank1-batch = rank1_batch.__main__:main" in wheel.read(name).decode()

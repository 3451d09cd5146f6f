"""The layout: few modules in a folder, a name means one thing, rooms of jobs alike, tests where their modules are."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

from tests.support.paths import ROOT

PACKAGE = ROOT / "rank1_batch"
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(path.parent for path in (PACKAGE / "jobs").glob("*/__init__.py"))
UNIT_TESTS = sorted((ROOT / "tests" / "unit").rglob("test_*.py"))

CONVENTION = {
    # what every room has
    "JOB", "USAGE", "Outcome", "check_config", "main", "print_outcome", "run", "summary_lines",
    # what every module may have
    "T", "logger",
}  # fmt: skip


def test_the_root_of_the_package_has_eight_modules_at_most() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 8


def test_a_folder_has_sixteen_modules_at_most() -> None:
    folders = {path.parent for path in MODULES}
    assert [str(folder) for folder in folders if len(list(folder.glob("*.py"))) > 16] == []


def is_defined(node: ast.AST) -> TypeGuard[ast.Name]:
    """Whether the node is a name that is assigned to."""
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def public_names(module: Path) -> Iterator[str]:
    """The names of functions, classes and constants that a module defines, without those of its own use."""
    for statement in ast.parse(module.read_text(encoding="utf-8")).body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names = [name]
            case ast.Assign(targets=targets):
                names = [node.id for target in targets for node in ast.walk(target) if is_defined(node)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                names = [name]
            case _:
                names = []
        yield from (name for name in names if not name.startswith("_"))


def test_a_public_name_is_defined_in_one_module() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        for name in set(public_names(module)):
            places[name].append(str(module.relative_to(ROOT)))
    twice = {name: modules for name, modules in places.items() if len(modules) > 1}
    assert {name: modules for name, modules in twice.items() if name not in CONVENTION} == {}


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_has_the_files_that_every_job_has(room: Path) -> None:
    settings = PACKAGE / "settings.py" if room.name == "rerank" else room / "settings.py"
    launcher, choices = ROOT / "jobs" / f"{room.name}.py", ROOT / "conf" / f"{room.name}.yaml"
    needed = [room / "command.py", settings, room / "job.py", launcher, choices]
    assert [str(path) for path in needed if not path.is_file()] == []


def test_every_launcher_and_every_yaml_has_a_room() -> None:
    rooms = {room.name for room in ROOMS}
    assert {path.stem for path in (ROOT / "jobs").glob("*.py")} - {"__init__"} <= rooms
    assert {path.stem for path in (ROOT / "conf").glob("*.yaml")} <= rooms


@pytest.mark.parametrize("test", UNIT_TESTS, ids=lambda test: str(test.relative_to(ROOT)))
def test_a_unit_test_stands_where_its_module_does(test: Path) -> None:
    folder = PACKAGE / test.parent.relative_to(ROOT / "tests" / "unit")
    name = test.stem.removeprefix("test_")
    assert (folder / f"{name}.py").is_file() or (folder / f"__{name}__.py").is_file()

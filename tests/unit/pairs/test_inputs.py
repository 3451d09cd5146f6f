"""The same bytes are the same input, wherever they lie. Anything else is named."""

import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rank1_batch.errors import RefusedError
from rank1_batch.jobs.rerank.planning import plan_units
from rank1_batch.pairs.inputs import (
    KnownFile,
    check_planned_files,
    digest_files,
    find_now,
    match_planned_files,
    name_as_planned,
    open_input,
)
from rank1_batch.pairs.units import Unit
from rank1_batch.settings import InputConfig
from rank1_batch.storage.store import UNKNOWN, FileInfo, Store, open_store
from tests.support.tiny_model import tiny_pairs

Planned = tuple[list[Unit], dict[str, KnownFile]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards of different pairs."""
    (tmp_path / "a").mkdir()
    for shard in range(3):
        pq.write_table(tiny_pairs(10, seed=shard), tmp_path / "a" / f"{shard}.parquet")
    return tmp_path


@pytest.fixture
def planned(folder: Path) -> Planned:
    store, files = found(folder / "a")
    return plan_units(store, files, InputConfig(path="a")).units, digest_files(store, files)


def found(*paths: Path) -> tuple[Store, list[FileInfo]]:
    return open_input(InputConfig(path=[str(path) for path in paths]))


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def test_a_copy_of_a_file_is_the_same_file(folder: Path, planned: Planned) -> None:
    units, known = planned
    shutil.copytree(folder / "a", folder / "copied")
    for file in (folder / "copied").iterdir():
        touch(file)
    store, files = found(folder / "copied")
    now = match_planned_files(store, files, units, known)
    assert plan_units(store, name_as_planned(files, now, units), InputConfig(path="a"), units).units == units
    here = find_now(units, now)
    assert [unit.unit_id for unit in here] == [unit.unit_id for unit in units]
    assert {(unit.path, unit.identity) for unit in here} == {(file.path, file.identity) for file in files}


def test_without_digests_only_the_same_time_and_size_are_the_same(folder: Path, planned: Planned) -> None:
    """Output of an earlier version."""
    units, _ = planned
    touch(folder / "a" / "1.parquet")
    with pytest.raises(RefusedError, match=r"1\.parquet changed"):
        match_planned_files(*found(folder / "a"), units, {})


def test_other_bytes_of_the_same_size_are_another_file(folder: Path, planned: Planned) -> None:
    units, known = planned
    file = folder / "a" / "1.parquet"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(RefusedError, match=r"1\.parquet changed"):
        match_planned_files(*found(folder / "a"), units, known)


def test_a_second_folder_does_not_make_the_files_of_the_first_another_input(folder: Path, planned: Planned) -> None:
    units, known = planned
    shutil.copytree(folder / "a", folder / "b")
    pq.write_table(tiny_pairs(10, seed=9), folder / "b" / "0.parquet")
    store, files = found(folder / "a", folder / "b")
    now = match_planned_files(store, files, units, known)
    grown = plan_units(store, name_as_planned(files, now, units), InputConfig(path="a"), units).units
    assert grown[: len(units)] == units
    assert {unit.path for unit in grown[len(units) :]} == {f"b/{shard}.parquet" for shard in range(3)}
    assert {unit.path for unit in find_now(units, now)} == {f"a/{shard}.parquet" for shard in range(3)}


def test_a_folder_less_is_the_same_input_too(folder: Path) -> None:
    shutil.copytree(folder / "a", folder / "b" / "c")
    store, files = found(folder / "a", folder / "b")
    units = plan_units(store, files, InputConfig(path="a")).units
    known = digest_files(store, files)
    only_a = [unit for unit in units if unit.path.startswith("a/")]
    now = match_planned_files(*found(folder / "a"), only_a, known)
    assert {path: file.path for path, file in now.items()} == {f"a/{n}.parquet": f"{n}.parquet" for n in range(3)}


def test_ten_files_that_are_gone_are_named_and_the_others_counted(folder: Path, planned: Planned) -> None:
    units = [Unit(f"{n}", f"gone-{n:02}.parquet", "etag", 0, 1, 1) for n in range(23)]
    with pytest.raises(RefusedError) as caught:
        match_planned_files(*found(folder / "a"), units, {})
    lines = str(caught.value).splitlines()
    assert [line for line in lines if "is missing" in line] == [f"  gone-{n:02}.parquet is missing" for n in range(10)]
    assert "and 13 more" in lines


def test_a_file_of_which_only_the_size_is_known_is_not_resumed_silently(tmp_path: Path) -> None:
    """Two files of one size would pass for the same one."""
    store = open_store(str(tmp_path))
    for identity in ("etag", f"5{UNKNOWN}"):
        files, planned = [FileInfo("a.parquet", 5, identity)], [Unit("u", "a.parquet", identity, 0, 1, 1)]
        check_planned_files(store, files, [])
        if identity == "etag":
            check_planned_files(store, files, planned)
            continue
        with pytest.raises(RefusedError, match=r"gives only the size of a\.parquet"):
            check_planned_files(store, files, planned)

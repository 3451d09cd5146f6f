"""A low-rank adapter for the demo model: how it is added to a model for training, and how it is merged into one.

The adapter's file holds, for each linear layer of each block, `down` (rank, in) and `up` (out, rank):
W + up · down is the layer's new weight. It also holds `think_rows`, the embeddings of the two added tokens.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

RANK = 8
FIRST_LAYER = 8
"""The blocks below are not trained, so no gradient has to pass through them."""
THINK_TOKENS = ("<think>", "</think>")
ROWS = "think_rows"


class AdaptedLinear(nn.Module):
    """A frozen linear layer plus a trained product of two thin matrices, which starts at zero."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.weight = base.weight.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(RANK, base.in_features) / base.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(base.out_features, RANK))

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        return nn.functional.linear(inputs, self.weight) + (inputs @ self.down.T) @ self.up.T


def add_think_tokens(tokenizer: Any) -> None:
    """Make `<think>` and `</think>` one token each, with the highest ids, as in Rank1's checkpoints."""
    tokenizer.add_special_tokens({"additional_special_tokens": list(THINK_TOKENS)})


def adapt_model(model: Any) -> dict[str, nn.Parameter]:
    """Put an adapter on every linear layer of the upper blocks, in place. Return the trainable parts by name."""
    trained: dict[str, nn.Parameter] = {}
    for name, module in list(model.model.named_modules()):
        if isinstance(module, nn.Linear) and int(name.split(".")[1]) >= FIRST_LAYER:
            adapted = AdaptedLinear(module)
            model.model.set_submodule(name, adapted)
            trained |= {f"{name}.down": adapted.down, f"{name}.up": adapted.up}
    return trained


def save_adapter(trained: dict[str, nn.Parameter], path: Path, step: int) -> None:
    """Write the adapter as bfloat16 in one piece, with the number of steps that it was trained for."""
    tensors = {name: value.detach().to(torch.bfloat16).contiguous() for name, value in trained.items()}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"format": "pt", "step": str(step)})
    partial.rename(path)


def load_adapter(trained: dict[str, nn.Parameter], path: Path) -> int:
    """Load a saved adapter into the trainable parts, in place. Return the number of steps it was trained for."""
    with safe_open(path, "pt") as saved, torch.no_grad():
        for name, value in trained.items():
            value.copy_(saved.get_tensor(name))
        return int(saved.metadata()["step"])


def merge_adapter(model: Any, path: Path) -> None:
    """Merge an adapter into the weights of a model with the two added tokens, in place."""
    adapter = load_file(path)
    with torch.no_grad():
        model.get_input_embeddings().weight[-len(THINK_TOKENS) :] = adapter.pop(ROWS)
        for name in sorted(key.removesuffix(".up") for key in adapter if key.endswith(".up")):
            weight = model.model.get_submodule(name).weight
            product = adapter[f"{name}.up"].float() @ adapter[f"{name}.down"].float()
            weight.copy_((weight.float() + product).to(weight.dtype))

"""What the engines are built with; the contract of engines builds them."""

from pathlib import Path

import pytest

from rank1_batch.engines.build import name_model_args
from rank1_batch.settings import ModelConfig


@pytest.mark.parametrize(
    ("name", "model"),
    [("jhu-clsp/rank1-7b", "jhu-clsp/rank1-7b"), ("~/my model", str(Path.home() / "my model")), ("a//b/", "a//b/")],
)
def test_a_checkpoint_is_named_as_vllm_finds_it(name: str, model: str) -> None:
    args = name_model_args(ModelConfig(name=name, max_model_len=16))
    assert (args["model"], args["max_model_len"], "name" in args) == (model, 16, False)

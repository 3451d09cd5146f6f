"""Parity with sentence-transformers: its own CrossEncoder and our engine on the same checkpoint of random weights."""

import asyncio
from pathlib import Path

import pytest
from sentence_transformers import CrossEncoder

from rank1_batch.engines.build import build_engine
from rank1_batch.engines.cross_encoder import resolve_cross_encoder
from rank1_batch.judging.pair import judge_pair
from rank1_batch.judging.records import Finish, Judgment, Pair
from rank1_batch.settings import RerankConfig, build_policy, load_config
from tests.support.tiny_model import build_tiny_cross_encoder, tiny_pairs

INSTRUCTION = "Find what answers the query."
ENGINE = ("engine=vllm_cpu", "engine.max_num_seqs=8", "engine.args.enforce_eager=true", "engine.cpus=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_cross_encoder(tmp_path_factory.mktemp("cross_encoder"), INSTRUCTION)


def settings(folder: Path) -> RerankConfig:
    places = (f"model.name={folder}", "model.dtype=float32", "model.max_model_len=512", "input.path=a", "output.path=b")
    return resolve_cross_encoder(load_config(["model=st", *places, *ENGINE]))


async def judge(config: RerankConfig, pairs: list[Pair]) -> list[Judgment]:
    policy = build_policy(config)
    engine = await build_engine(config.model, config.engine, policy.reader)
    try:
        return await asyncio.gather(*(judge_pair(engine, pair, policy) for pair in pairs))
    finally:
        await engine.close()


def test_scores_are_those_of_the_cross_encoder_itself_with_its_own_instruction_and_with_one_of_the_pair(
    folder: Path,
) -> None:
    texts = tiny_pairs(12).select(["query", "passage"]).to_pylist()
    own = "Find stones."
    pairs = [
        Pair(row["query"], row["passage"], instruction=own if number % 2 else None) for number, row in enumerate(texts)
    ]
    judged = asyncio.run(judge(settings(folder), pairs))
    reference = CrossEncoder(str(folder), device="cpu")
    for pair, judgment in zip(pairs, judged, strict=True):
        (logit,) = reference.predict([(pair.query, pair.passage)], prompt=pair.instruction, activation_fn=lambda x: x)
        assert judgment.true_logprob is not None
        assert judgment.false_logprob is not None
        assert judgment.true_logprob - judgment.false_logprob == pytest.approx(float(logit), abs=1e-3)
        assert (judgment.finish, judgment.label) == (Finish.NO_THINK, logit > 0)
    assert len({judgment.score for judgment in judged}) == len(pairs)

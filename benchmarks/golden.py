"""How far scores move when the same trace is judged again: what golden.tolerance must allow.

    python -m benchmarks.golden

The demo model reasons about some pairs of NovelEval in float32. The same traces are then judged again: in another order
and one at a time, in bfloat16, and with weights rounded to int4. The int4 weights are judged unpacked in float32. Where
the CPU has AVX-512, vLLM's AWQ kernel judges them too.
"""

import gc
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from rank1_batch.engines.build import has_int4_kernels
from rank1_batch.judging.records import Finish, Judgment, Pair
from rank1_batch.replica.loop import Replica
from rank1_batch.settings import RerankConfig, load_config

ROOT = Path(__file__).parents[1]
PAIRS, BUDGET = 32, 48
SETTINGS = ["engine=vllm_cpu", f"policy.max_thinking_tokens={BUDGET}", "input.path=pairs", "output.path=judged"]
Given = list[tuple[Pair, str | None, bool]]


def main() -> None:
    """Print a line for each way of judging the same traces."""
    sys.path.append(str(ROOT / "tools" / "demo_model"))
    from checkpoints import unpack_awq

    rows = pq.read_table(ROOT / "examples" / "noveleval" / "pairs").to_pylist()
    pairs = [Pair(row["query"], row["passage"], row.get("title")) for row in rows[:: len(rows) // PAIRS][:PAIRS]]
    awq = Path(load_config(["model=demo", *SETTINGS]).model.name)
    first = Replica(settings())
    judged = first.judge(pairs)
    given = [(pair, found.trace, found.finish is Finish.COMPLETE) for pair, found in zip(pairs, judged, strict=True)]
    print(f"{PAIRS} pairs, traces of at most {BUDGET} tokens\n\n| judged again | median | largest |\n|---|---|---|")
    tell("in float32, the other way round and one at a time", judged, one_by_one(first, given))
    first.close()
    tell("in bfloat16", judged, judge_again(settings("model.dtype=bfloat16"), given))
    with tempfile.TemporaryDirectory() as folder:
        unpack_awq(awq, Path(folder) / "awq")
        rounded = settings("model=custom", f"model.name={folder}/awq", "model.max_model_len=2048")
        unpacked = judge_again(rounded, given)
    tell("with weights rounded to int4, in float32", judged, unpacked)
    if has_int4_kernels():
        second = Replica(load_config(["model=demo", *SETTINGS]))
        packed = second.judge_given(given)
        tell("as AWQ int4, by vLLM's kernel in bfloat16", judged, packed)
        tell("the same, from the weights rounded to int4, in float32", unpacked, packed)
        tell("the same, from itself, the other way round and one at a time", packed, one_by_one(second, given))
        second.close()


def settings(*overrides: str) -> RerankConfig:
    """Settings of a job with the demo model in float32, with these changes."""
    return load_config(["model=demo_full", "model.dtype=float32", *SETTINGS, *overrides])


def one_by_one(replica: Replica, given: Given) -> list[Judgment]:
    """From the last to the first, one at a time."""
    return [replica.judge_given([row])[0] for row in reversed(given)][::-1]


def judge_again(config: RerankConfig, given: Given) -> list[Judgment]:
    """Judge them on a new replica."""
    gc.collect()
    replica = Replica(config)
    try:
        return replica.judge_given(given)
    finally:
        replica.close()


def tell(name: str, judged: Sequence[Judgment], again: Sequence[Judgment]) -> None:
    """A line of the table."""
    moved = list(find_moves(judged, again))
    print(f"| {name} | {statistics.median(moved):.4f} | {max(moved):.4f} |", flush=True)


def find_moves(judged: Sequence[Judgment], again: Sequence[Judgment]) -> Iterator[float]:
    """How far each score moved."""
    for before, after in zip(judged, again, strict=True):
        if before.score is None or after.score is None:
            raise RuntimeError(f"a pair was not judged: {before.error or after.error}")
        yield abs(after.score - before.score)


if __name__ == "__main__":
    main()

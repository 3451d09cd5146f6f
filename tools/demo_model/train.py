"""Trains the demo model's adapter on two CPU cores: pairs of data/train.parquet, with composed reasoning.

    PYTHONPATH=. nice python tools/demo_model/train.py [--examples N] [--out adapter.safetensors] [--resume]

Then `build.py --update` builds the checkpoints again. The same package versions give the same adapter on the same
kind of CPU.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import torch
from checkpoints import load_untaught
from lora import ROWS, THINK_TOKENS, adapt_model, add_think_tokens, load_adapter, save_adapter
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from traces import compose_trace, weigh_stems

from rank1_batch.judging.prompts import RANK1_TEMPLATE

HERE = Path(__file__).parent
WORKERS = 2
BATCH, RATE, ROW_RATE, WARM_UP = 4, 1e-3, 5e-4, 15
VERDICT_WEIGHT, FINDING_WEIGHT = 8.0, 4.0
"""The weight of the verdict token, and of a token that says whether a term is there. A token of reasoning has 1."""
FINDINGS = (" met", " missing", " nothing", ' "')
SAVE_EVERY_S = 240


class Sample(NamedTuple):
    """Token ids of a prompt and of its answer, and the weight of each token of the answer."""

    prompt: list[int]
    answer: list[int]
    weights: Tensor


class Student(NamedTuple):
    """The model in training. `rows` are the embeddings of the two added tokens, which have the highest ids."""

    model: Any
    tokenizer: Any
    rows: nn.Parameter
    trained: dict[str, nn.Parameter]


def main() -> None:
    """Train in two processes. Write the adapter every few minutes and at the end."""
    with tempfile.TemporaryDirectory() as meeting:
        spawn(run_worker, (parse_arguments(), f"file://{meeting}/store"), WORKERS)


def run_worker(worker: int, arguments: argparse.Namespace, meeting: str) -> None:
    """One process with one thread: under other load, two threads in one process wait for each other.

    Measured on two busy cores: 15 GFLOP/s with two threads, 38 with two processes.
    """
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=worker, world_size=WORKERS)
    torch.manual_seed(0)
    student = load_student()
    table = pq.read_table(HERE / "data" / "train.parquet").to_pylist()
    weights = weigh_stems(row["passage"] for row in table)
    samples = [encode_sample(student.tokenizer, row, weights) for row in table if row["part"] == "train"]
    dev = [encode_sample(student.tokenizer, row, weights) for row in table if row["part"] == "dev"]
    done = load_adapter(student.trained, arguments.out) if arguments.resume else 0
    train(student, samples[: arguments.examples], arguments.out, done)
    if worker == 0:
        print("dev: loss {:.3f}, verdicts right {:.3f}".format(*measure_dev(student, dev)), flush=True)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the demo model's adapter.")
    parser.add_argument("--examples", type=int, help="how many pairs; default: all")
    parser.add_argument("--resume", action="store_true", help="go on from what OUT holds")
    parser.add_argument("--out", type=Path, default=HERE / "adapter.safetensors", help="default: %(default)s")
    return parser.parse_args()


def load_student() -> Student:
    """The untrained model in float32 with an adapter. The rows of the added tokens are the mean of their pieces."""
    model, tokenizer = load_untaught()
    model = model.float().requires_grad_(False)
    table = model.get_input_embeddings().weight
    pieces = [tokenizer.encode(token) for token in THINK_TOKENS]
    rows = nn.Parameter(torch.stack([table[ids].mean(dim=0) for ids in pieces]))
    add_think_tokens(tokenizer)
    return Student(model, tokenizer, rows, adapt_model(model) | {ROWS: rows})


def encode_sample(tokenizer: Any, row: dict[str, Any], weights: dict[str, float]) -> Sample:
    """The prompt as the job sends it. The answer is reasoning, `</think>`, verdict and the end of text."""
    prompt = RANK1_TEMPLATE.format(query=row["query"], passage=row["passage"])
    trace = compose_trace(row["query"], row["passage"], weights)
    answer = f"\n{trace}\n</think> {str(row['label']).lower()}{tokenizer.eos_token}"
    ids = tokenizer.encode(answer)
    findings = {token for text in FINDINGS for token in tokenizer.encode(text)}
    counts = torch.tensor([FINDING_WEIGHT if token in findings else 1.0 for token in ids])
    counts[-2] = VERDICT_WEIGHT  # the last is the end of text
    return Sample(tokenizer.encode(prompt), ids, counts)


def train(student: Student, samples: Sequence[Sample], out: Path, done: int) -> None:
    """One pass over the samples in batches, from step `done` on. The learning rate rises quickly and falls slowly."""
    steps = len(samples) // BATCH
    layers = [value for name, value in student.trained.items() if name != ROWS]
    groups = [{"params": layers, "lr": RATE}, {"params": [student.rows], "lr": ROW_RATE}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARM_UP, rate_at(done + step, steps))
    )
    clock = Clock(steps)
    for step in range(done, steps):
        batch = samples[step * BATCH : (step + 1) * BATCH]
        clock.note(step, learn_batch(student, batch), sum(len(sample.prompt) + len(sample.answer) for sample in batch))
        nn.utils.clip_grad_norm_(student.trained.values(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if torch.distributed.get_rank() == 0 and clock.time_to_save(step):
            save_adapter(student.trained, out, step + 1)


def learn_batch(student: Student, batch: Sequence[Sample]) -> float:
    """Put the mean gradient of the batch into every process. Return the mean loss of this process."""
    total = 0.0
    for sample in share_out(batch)[torch.distributed.get_rank()]:
        loss = measure_loss(student, sample) / BATCH
        loss.backward()
        total += loss.item()
    gradients = [value.grad for value in student.trained.values() if value.grad is not None]
    gradient = nn.utils.parameters_to_vector(gradients)
    torch.distributed.all_reduce(gradient)
    nn.utils.vector_to_parameters(gradient, gradients)
    return total * WORKERS


def share_out(batch: Sequence[Sample]) -> list[list[Sample]]:
    """Split a batch so that both processes have about as many tokens: by length 0 3 4 7 and 1 2 5 6."""
    ordered = sorted(batch, key=lambda sample: len(sample.prompt) + len(sample.answer))
    return [
        [sample for place, sample in enumerate(ordered) if (place % 4 in {0, 3}) == first] for first in (True, False)
    ]


class Clock:
    """Prints the progress of the training, and says when to save."""

    def __init__(self, steps: int) -> None:
        self._steps, self._begin, self._saved = steps, time.monotonic(), time.monotonic()
        self._tokens = 0
        self._losses: list[float] = []

    def note(self, step: int, loss: float, tokens: int) -> None:
        """Count one step. The first process prints every tenth."""
        self._tokens += tokens
        self._losses.append(loss)
        seconds = time.monotonic() - self._begin
        if torch.distributed.get_rank() == 0 and step % 10 == 9:
            mean, speed = sum(self._losses[-10:]) / 10, self._tokens / seconds
            print(f"step {step + 1}/{self._steps}: loss {mean:.3f}, {seconds:.0f} s, {speed:.0f} tokens/s", flush=True)

    def time_to_save(self, step: int) -> bool:
        """At the end, and every `SAVE_EVERY_S` seconds."""
        if step + 1 < self._steps and time.monotonic() - self._saved < SAVE_EVERY_S:
            return False
        self._saved = time.monotonic()
        return True


def rate_at(step: int, steps: int) -> float:
    """The share of the full learning rate at a step. It ends at a twentieth."""
    return 1 - 0.95 * step / steps


def measure_loss(student: Student, sample: Sample) -> Tensor:
    """The weighted mean loss of the tokens of the answer."""
    logits = answer_logits(student, sample)
    losses = nn.functional.cross_entropy(logits, torch.tensor(sample.answer), reduction="none")
    return (losses * sample.weights).sum() / sample.weights.sum()


def answer_logits(student: Student, sample: Sample) -> Tensor:
    """(answer, vocabulary) logits. The added tokens come after the vocabulary of the model.

    The rows are trained as outputs only. As inputs, they would need gradients through all blocks.
    """
    table = student.model.get_input_embeddings().weight
    ids = torch.tensor(sample.prompt + sample.answer[:-1])
    added = (ids >= len(table)).unsqueeze(1)
    embedded = torch.where(
        added, student.rows.detach()[(ids - len(table)).clamp(min=0)], table[ids.clamp(max=len(table) - 1)]
    )
    hidden = student.model.model(inputs_embeds=embedded.unsqueeze(0), use_cache=False).last_hidden_state[0]
    hidden = hidden[-len(sample.answer) :]
    return torch.cat([hidden @ table.T, hidden @ student.rows.T], dim=1)


@torch.no_grad()
def measure_dev(student: Student, dev: Sequence[Sample]) -> tuple[float, float]:
    """Mean loss, and the share of correct verdicts after the composed reasoning."""
    losses, right = [], 0
    true, false = (student.tokenizer.encode(f" {word}")[0] for word in ("true", "false"))
    for sample in dev:
        losses.append(measure_loss(student, sample).item())
        verdict = answer_logits(student, sample)[-2]
        right += bool(verdict[true] > verdict[false]) == (sample.answer[-2] == true)
    return sum(losses) / len(dev), right / len(dev)


if __name__ == "__main__":
    main()

"""The settings of the main job: their types, and what is checked before anything is spent.

Past `load_config` the code sees these dataclasses only. Choices are YAML; the types are here.
"""

import math
import os.path
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rank1_batch.cli.fields import setting
from rank1_batch.columns import OPTIONAL, REQUIRED, RESERVED
from rank1_batch.judging.prompts import QUERY_SLOT, check_template, has_instruction
from rank1_batch.judging.readers import Answer, Reader, check_reader
from rank1_batch.judging.records import Policy, PolicyKind

VLLM, SCRIPTED = ENGINE_KINDS = ("vllm", "scripted")
"""What `engine.kind` may be; `engines.build` has a builder for each."""

LISTWISE = ("ReasonRank", "Rank-K", "REARANK")
"""Rerankers that read many passages in one prompt. Their scores of single pairs would mean nothing."""

COLUMN_NAMES = {*REQUIRED, *OPTIONAL, "candidates"}

SECRET_ARG = re.compile(r"(^|_)((hf|access|auth)_token|api_key|secret|password)$")

SECRET_ARGS, OTHER_SECRET = {"hf_token": "the variable HF_TOKEN"}, "a variable of the environment"
"""What to set in place of an argument that holds a secret."""

VERSIONS_CHOICES = ("warn", "refuse")

LEAST_THINKING_TOKENS = 1
DEFAULT_THINKING_TOKENS = 8192

STALL_S, STALL_S_A_TOKEN = 600.0, 0.25
"""A rate of 4 tokens/s is slower than any sequence that is alone in an engine."""


@dataclass
class ModelConfig:
    """A checkpoint: a Hugging Face id or a folder. `quantization` None reads the checkpoint's own."""

    name: str = setting("Hugging Face id or folder of the checkpoint")
    revision: str | None = setting("branch or commit; a commit hash makes a job repeatable", None)
    dtype: str = setting("number type of the weights, as in vLLM", "auto")
    max_model_len: int = setting("most tokens of prompt and reasoning together")
    quantization: str | None = setting("as in vLLM; null takes what the checkpoint says", None)
    trust_remote_code: bool = setting("run code that comes with the checkpoint", default=False)


@dataclass
class EngineConfig:
    """The engine of one replica. `args` are the engine's own names; `gpus` is also tensor parallel."""

    kind: str = setting("vllm, or scripted (no model, made-up answers)", "vllm")
    gpus: int = setting("GPUs of one replica; its tensor parallel size, too", 1)
    cpus: float = setting("CPUs that Ray reserves for one replica", 1.0)
    max_num_seqs: int = setting("most sequences at a time", 256)
    max_num_batched_tokens: int = setting("most tokens in one step", 8192)
    args: dict[str, Any] = setting("any other argument of vLLM's engine, by its name", dict)
    env: dict[str, str] = setting("environment variables of a replica", dict)


@dataclass
class ReaderConfig:
    """How the answer of a model is read. `answers` maps each answer, which must be one token, to its value."""

    id: str = setting("name of the reader, as the output records it")
    version: int = setting("version of the reader, as the output records it", 1)
    answers: dict[str, float] = setting("value of an answer: reader.answers.yes=1", dict)
    checkpoint: bool = setting("take answers and prompt from the files of the checkpoint", default=False)
    think_end: str | None = setting("text that ends the reasoning; null for models that never reason", None)
    before: str = setting("text between the reasoning and the answer", "")
    relevant_from: float = setting("least value of an answer that means relevant", 1.0)


@dataclass
class PromptConfig:
    """A prompt with a name: `template` has `{query}` and `{passage}`, `dataset_prompt` the query's slot."""

    id: str = setting("name of the prompt, as the output records it")
    version: int = setting("version of the prompt, as the output records it", 1)
    template: str = setting("the prompt, with {query}, {passage} and perhaps {instruction}")
    dataset_prompt: str | None = setting("how a data set puts its queries, with FILL_QUERY_HERE in it", None)
    instruction: str | None = setting("text for {instruction} where a pair has none", None)
    chat: bool = setting("send the prompt through the model's chat template", default=False)


@dataclass
class PolicyConfig:
    """How to ask. `full`: reason up to `max_thinking_tokens`; `no_think`: read the verdict at once."""

    kind: PolicyKind = setting("full: reason first; no_think: the verdict alone", PolicyKind.FULL)
    max_thinking_tokens: int = setting("tokens after which the reasoning is closed", DEFAULT_THINKING_TOKENS)


@dataclass
class InputConfig:
    """Pairs as Parquet: one path or several (file, folder or glob). `columns`: our name → the file's."""

    path: Any = setting("Parquet files of pairs: a file, folder, glob, or a list [a,b]")
    columns: dict[str, str] = setting("name of a column in your files: input.columns.query_id=qid", dict)
    keep: list[str] = setting("further columns that pass through to the output", list)
    on_bad_file: str = setting("fail, or skip (leave unreadable files out; exit code 3)", "fail")
    unit_rows: int | None = setting("pairs in a unit of work; by default 4 a sequence of an engine, 1024 at most", None)


@dataclass
class OutputConfig:
    """Where judgments go, and the share of failed rows (0 to 1) past which the job ends."""

    path: str = setting("an empty folder, or the output of this same job")
    max_error_rate: float = setting("share of failed rows past which the job stops", 0.01)


@dataclass
class ClusterConfig:
    """Where to run: a local Ray by default. `replicas` engines, or as many as fit up to `max_replicas`.

    `wait_s` is how long to wait for a node that is large enough for a replica, where there is none.
    """

    address: str | None = setting("a running Ray cluster; null starts Ray on this machine", None)
    replicas: int = setting("engines at the start", 1)
    max_replicas: int | None = setting("grow to as many engines as GPUs become free", None)
    wait_s: float = setting("seconds to wait for a node large enough for a replica", 1800.0)


@dataclass
class GateLimits:
    """Shares of rows, 0 to 1, that are the most (`true_least`: the least) of a healthy job; None checks nothing.

    `saturated` counts scores within 1e-6 of 0 or 1, `stray` verdicts that give less than half of the
    probability to true and false together.
    """

    errors: float | None = setting("most rows with an error", None)
    closed: float | None = setting("most rows whose reasoning hit its limit", None)
    truncated: float | None = setting("most passages that were cut to fit", None)
    saturated: float | None = setting("most scores of almost 0 or almost 1", None)
    stray: float | None = setting("most verdicts that are neither true nor false", None)
    true_least: float | None = setting("fewest rows called true", None)
    true_most: float | None = setting("most rows called true", None)


def _warning_limits() -> GateLimits:
    # 3 % of answers that had to be forced is called a bad run elsewhere (folktexts #31). Qwen2.5-3B has 0.1 to
    # 0.3 % saturated scores with reasoning and 93 to 98 % without, and 1 to 6 % true rows in a top 100 of BM25.
    return GateLimits(0.001, 0.03, 0.03, 0.5, 0.03, true_least=0.001, true_most=0.95)


@dataclass
class GatesConfig:
    """Limits of a healthy job. Past `warn` it prints a warning; past `fail` its exit code is 7, too."""

    warn: GateLimits = setting("past these the job ends with a warning", _warning_limits)
    fail: GateLimits = setting("past these the job ends with exit code 7", lambda: GateLimits(stray=0.5))


@dataclass
class GoldenConfig:
    """Pairs with known scores, which every replica judges before it works: `tolerance` is on the score."""

    path: str | None = setting("a golden set, which the job golden makes", None)
    tolerance: float = setting("largest difference of a score", 0.1)


@dataclass
class RunConfig:
    """How this run behaves: nothing here can change a score. `grace_s` is for units under way at SIGTERM."""

    fresh: bool = setting("refuse an output that is not empty", default=False)
    takeover: bool = setting("replace another run that works on this output", default=False)
    repair: bool = setting("delete damaged files of judgments, and judge their rows again", default=False)
    versions: str = setting("warn, or refuse, where other versions of vLLM or torch judged before", "warn")
    grace_s: float = setting("seconds to finish units in after SIGTERM", 90.0)
    log_every_s: float = setting("seconds between progress lines without a terminal", 30.0)
    stall_s: float | None = setting(
        "seconds without a finished row after which a replica is restarted; null: 600, and 0.25 a token of the budget",
        None,
    )


@dataclass
class RerankConfig:
    """All settings of `jobs.rerank`."""

    model: ModelConfig = setting("the checkpoint", ModelConfig)
    engine: EngineConfig = setting("what runs the checkpoint", EngineConfig)
    reader: ReaderConfig = setting("how the answer of the model is read", ReaderConfig)
    prompt: PromptConfig = setting("the words that the model reads", PromptConfig)
    policy: PolicyConfig = setting("whether and how long the model reasons", PolicyConfig)
    input: InputConfig = setting("the pairs", InputConfig)
    output: OutputConfig = setting("where results go", OutputConfig)
    cluster: ClusterConfig = setting("where the engines run", ClusterConfig)
    gates: GatesConfig = setting("shares of rows (0 to 1) that show a bad run; null sets no limit", GatesConfig)
    golden: GoldenConfig = setting("pairs with known scores, to check every replica with", GoldenConfig)
    run: RunConfig = setting("how this run behaves; no effect on scores", RunConfig)


def load_config(overrides: Sequence[str]) -> RerankConfig:
    """The settings of `jobs.rerank` for a list of Hydra overrides. Raises SettingsError with every problem found."""
    from rank1_batch.cli.compose import load_settings

    return load_settings(overrides, "rerank", RerankConfig, check_config)


def check_config(config: RerankConfig) -> list[str]:
    """What is wrong with the settings, one sentence a problem; empty where nothing is."""
    problems = check_template(config.prompt.template)
    slot = config.prompt.dataset_prompt
    if slot is not None and QUERY_SLOT not in slot:
        problems.append(f"prompt.dataset_prompt must hold {QUERY_SLOT} where the query goes")
    if has_instruction(config.prompt.template) and not config.prompt.instruction:
        problems.append("prompt.instruction is needed for pairs without one, because the template has {instruction}")
    problems += [] if config.reader.checkpoint else check_reader(build_reader(config.reader))
    problems += _check_model(config) + _check_data(config) + _check_cluster(config.cluster)
    return problems + _check_health(config) + _check_run(config.run)


def build_policy(config: RerankConfig) -> Policy:
    """The core's view of how to ask."""
    return Policy(
        kind=config.policy.kind,
        max_thinking_tokens=config.policy.max_thinking_tokens,
        template=config.prompt.template,
        dataset_prompt=config.prompt.dataset_prompt,
        instruction=config.prompt.instruction,
        reader=build_reader(config.reader),
    )


def build_reader(config: ReaderConfig) -> Reader:
    """The core's view of how an answer is read: the best answer first."""
    answers = sorted((Answer(text, value) for text, value in config.answers.items()), key=lambda answer: -answer.value)
    return Reader(tuple(answers), config.think_end, config.before, config.relevant_from)


def find_stall_s(config: RerankConfig) -> float:
    """Seconds without a finished row after which an engine counts as dead.

    By default long enough for a trace of the whole budget at 4 tokens/s, and ten minutes more.
    """
    if config.run.stall_s is not None:
        return config.run.stall_s
    return STALL_S + STALL_S_A_TOKEN * config.policy.max_thinking_tokens


def input_paths(config: InputConfig) -> list[str]:
    """`input.path` as a list, whatever form it was given in."""
    return [str(path) for path in config.path] if isinstance(config.path, list) else [str(config.path)]


def _check_model(config: RerankConfig) -> list[str]:
    problems = []
    if not config.model.name.strip():
        problems.append("model.name is empty: give a Hugging Face id or a folder")
    if listwise := next((name for name in LISTWISE if name.lower() in config.model.name.lower()), None):
        problem = f"{listwise} ranks a list in one prompt, and this job judges pairs"
        problems.append(f"model.name is {config.model.name}: {problem}")
    return problems + _check_engine(config.engine) + _check_thinking(config)


def _check_thinking(config: RerankConfig) -> list[str]:
    thinking, context = config.policy.max_thinking_tokens, config.model.max_model_len
    if config.policy.kind is PolicyKind.NO_THINK:
        # The one stands in conf/policy/no_think.yaml, the other is left where policy.kind alone is changed.
        if thinking in (LEAST_THINKING_TOKENS, DEFAULT_THINKING_TOKENS):
            return []
        return [
            f"policy.max_thinking_tokens is {thinking}, but policy=no_think has no reasoning: leave one of them out"
        ]
    if config.reader.think_end is None:
        without = f"the answers of reader={config.reader.id} come without: take policy=no_think"
        return [f"policy={config.policy.kind} asks for reasoning, but {without}"]
    if not LEAST_THINKING_TOKENS <= thinking < context:
        limits = f"at least {LEAST_THINKING_TOKENS} and less than model.max_model_len ({context})"
        return [f"policy.max_thinking_tokens is {thinking}, but must be {limits}"]
    return []


def _check_engine(engine: EngineConfig) -> list[str]:
    problems = []
    if engine.kind not in ENGINE_KINDS:
        problems.append(f"engine.kind is {engine.kind!r}, but must be one of {', '.join(ENGINE_KINDS)}")
    if engine.gpus < 0:
        problems.append(f"engine.gpus is {engine.gpus}, but must be at least 0")
    if not 0 < engine.cpus < math.inf:
        problems.append(f"engine.cpus is {engine.cpus:g}, but must be over 0")
    sizes = {name: getattr(engine, name) for name in ("max_num_seqs", "max_num_batched_tokens")}
    problems += [f"engine.{name} is {size}, but must be at least 1" for name, size in sizes.items() if size < 1]
    own = {"model", "revision", "dtype", "max_model_len", "quantization", "trust_remote_code", "scheduling_policy"}
    own |= {"max_num_seqs", "max_num_batched_tokens", "tensor_parallel_size"}
    problems += [f"engine.args.{key} has a setting of its own: use it" for key in sorted(own & set(engine.args))]
    problems += [
        f"engine.args.{key} would be written into the output: on every node, set {SECRET_ARGS.get(key, OTHER_SECRET)}"
        for key in sorted(engine.args)
        if SECRET_ARG.search(key)
    ]
    return problems


def _check_data(config: RerankConfig) -> list[str]:
    problems = []
    paths = config.input.path
    if not isinstance(paths, str | list) or not paths or "" in input_paths(config.input):
        problems.append("input.path must be a path or a list of paths")
    if config.input.on_bad_file not in ("fail", "skip"):
        problems.append(f"input.on_bad_file is {config.input.on_bad_file!r}, but must be fail or skip")
    there_are = ", ".join(sorted(COLUMN_NAMES))
    unknown = [name for name in config.input.columns if name not in COLUMN_NAMES]
    problems += [f"input.columns.{name}: no such column; there are {there_are}" for name in unknown]
    problems += [
        f"input.keep: {name} is a column of the output already" for name in config.input.keep if name in RESERVED
    ]
    if not 0 <= config.output.max_error_rate <= 1:
        problems.append(f"output.max_error_rate is {config.output.max_error_rate}, but must be between 0 and 1")
    if config.input.unit_rows is not None and config.input.unit_rows < 1:
        problems.append(f"input.unit_rows is {config.input.unit_rows}, but must be at least 1")
    inside = [path for path in input_paths(config.input) if lies_inside(config.output.path, path)]
    problems += [f"output.path lies inside the input {path}: its files would be read as input" for path in inside]
    return problems


def lies_inside(path: str, folder: str) -> bool:
    """Whether a path lies in a folder, or below the fixed part of a glob, or is it itself."""
    path, folder = (
        text if "://" in text else os.path.normpath(Path(text).expanduser().absolute()) for text in (path, folder)
    )
    # A folder may have brackets in its own name.
    is_glob = re.search(r"[*?[]", folder) and not Path(folder).exists()
    fixed = re.split(r"[*?[]", folder)[0].rpartition("/")[0] if is_glob else folder
    return f"{path.rstrip('/')}/".startswith(f"{fixed.rstrip('/')}/")


def _check_cluster(cluster: ClusterConfig) -> list[str]:
    if cluster.replicas < 1:
        return [f"cluster.replicas is {cluster.replicas}, but must be at least 1"]
    if cluster.max_replicas is not None and cluster.max_replicas < cluster.replicas:
        return [f"cluster.max_replicas ({cluster.max_replicas}) is less than cluster.replicas ({cluster.replicas})"]
    if cluster.wait_s < 0:
        return [f"cluster.wait_s is {cluster.wait_s:g}, but must be at least 0"]
    return []


def _check_health(config: RerankConfig) -> list[str]:
    problems = [
        f"gates.{severity}.{name} is {limit:g}, but must be a share between 0 and 1"
        for severity, limits in asdict(config.gates).items()
        for name, limit in limits.items()
        if limit is not None and not 0 <= limit <= 1
    ]
    if not 0 <= config.golden.tolerance < 1:
        problems.append(f"golden.tolerance is {config.golden.tolerance:g}, but must be at least 0 and less than 1")
    return problems


def _check_run(run: RunConfig) -> list[str]:
    problems = []
    if run.versions not in VERSIONS_CHOICES:
        problems.append(f"run.versions is {run.versions!r}, but must be warn or refuse")
    if not 0 <= run.grace_s < math.inf:
        problems.append(f"run.grace_s is {run.grace_s:g}, but must be at least 0")
    if not 0 < run.log_every_s < math.inf:
        problems.append(f"run.log_every_s is {run.log_every_s:g}, but must be over 0")
    if run.stall_s is not None and not 0 < run.stall_s < math.inf:
        problems.append(f"run.stall_s is {run.stall_s:g}, but must be over 0")
    return problems

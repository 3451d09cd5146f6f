"""The settings of the main job: their types, and what is checked before anything is spent.

Past `load_config` the code sees these dataclasses only. Choices are YAML; the types are here.
"""

import os.path
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from rank1_batch.cli.compose import load_settings
from rank1_batch.columns import OPTIONAL, REQUIRED, RESERVED
from rank1_batch.judging.prompts import QUERY_SLOT, check_template
from rank1_batch.judging.records import Policy, PolicyKind

ENGINE_KINDS = ("vllm", "scripted")

COLUMN_NAMES = {*REQUIRED, *OPTIONAL, "candidates"}

LEAST_THINKING_TOKENS = 1


@dataclass
class ModelConfig:
    """A checkpoint: a Hugging Face id or a folder. `quantization` None reads the checkpoint's own."""

    name: str = MISSING
    revision: str | None = None
    dtype: str = "auto"
    max_model_len: int = MISSING
    quantization: str | None = None
    trust_remote_code: bool = False


@dataclass
class EngineConfig:
    """The engine of one replica. `args` are the engine's own names; `gpus` is also tensor parallel."""

    kind: str = "vllm"
    gpus: int = 1
    cpus: float = 1.0
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    args: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)


@dataclass
class PromptConfig:
    """A prompt with a name: `template` has `{query}` and `{passage}`, `dataset_prompt` the query's slot."""

    id: str = MISSING
    version: int = 1
    template: str = MISSING
    dataset_prompt: str | None = None


@dataclass
class PolicyConfig:
    """How to ask. `full`: reason up to `max_thinking_tokens`; `no_think`: read the verdict at once."""

    kind: PolicyKind = PolicyKind.FULL
    max_thinking_tokens: int = 8192


@dataclass
class InputConfig:
    """Pairs as Parquet: one path or several (file, folder or glob). `columns`: our name → the file's."""

    path: Any = MISSING
    columns: dict[str, str] = field(default_factory=dict)
    keep: list[str] = field(default_factory=list)
    on_bad_file: str = "fail"
    unit_rows: int | None = None


@dataclass
class OutputConfig:
    """Where judgments go, and the share of failed rows (0 to 1) past which the job ends."""

    path: str = MISSING
    max_error_rate: float = 0.01


@dataclass
class ClusterConfig:
    """Where to run: a local Ray by default. `replicas` engines, or as many as fit up to `max_replicas`.

    `wait_s` is how long to wait for a node that is large enough for a replica, where there is none.
    """

    address: str | None = None
    replicas: int = 1
    max_replicas: int | None = None
    wait_s: float = 1800.0


@dataclass
class GateLimits:
    """Shares of rows, 0 to 1, that are the most (`true_least`: the least) of a healthy job; None checks nothing.

    `saturated` counts scores within 1e-6 of 0 or 1, `stray` verdicts that give less than half of the
    probability to true and false together.
    """

    errors: float | None = None
    closed: float | None = None
    truncated: float | None = None
    saturated: float | None = None
    stray: float | None = None
    true_least: float | None = None
    true_most: float | None = None


def _warning_limits() -> GateLimits:
    # 3 % of answers that had to be forced is called a bad run elsewhere (folktexts #31). Qwen2.5-3B has 0.1 to
    # 0.3 % saturated scores with reasoning and 93 to 98 % without, and 1 to 6 % true rows in a top 100 of BM25.
    return GateLimits(0.001, 0.03, 0.03, 0.5, 0.03, true_least=0.001, true_most=0.95)


@dataclass
class GatesConfig:
    """Limits of a healthy job: past those of `warn` it is told, past those of `fail` the exit code says so, too."""

    warn: GateLimits = field(default_factory=_warning_limits)
    fail: GateLimits = field(default_factory=lambda: GateLimits(stray=0.5))


@dataclass
class GoldenConfig:
    """Pairs with known scores, which every replica judges before it works: `tolerance` is on the score."""

    path: str | None = None
    tolerance: float = 0.1


@dataclass
class RunConfig:
    """How this run behaves: nothing here can change a score. `grace_s` is for units under way at SIGTERM."""

    fresh: bool = False
    takeover: bool = False
    grace_s: float = 90.0
    log_every_s: float = 30.0


@dataclass
class RerankConfig:
    """All settings of `jobs.rerank`."""

    model: ModelConfig = field(default_factory=ModelConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    input: InputConfig = field(default_factory=InputConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    gates: GatesConfig = field(default_factory=GatesConfig)
    golden: GoldenConfig = field(default_factory=GoldenConfig)
    run: RunConfig = field(default_factory=RunConfig)


def load_config(overrides: Sequence[str]) -> RerankConfig:
    """The settings of `jobs.rerank` for a list of Hydra overrides. Raises SettingsError with every problem found."""
    return load_settings(overrides, "rerank", RerankConfig, check_config)


def check_config(config: RerankConfig) -> list[str]:
    """What is wrong with the settings, one sentence a problem; empty where nothing is."""
    problems = check_template(config.prompt.template)
    slot = config.prompt.dataset_prompt
    if slot is not None and QUERY_SLOT not in slot:
        problems.append(f"prompt.dataset_prompt must hold {QUERY_SLOT} where the query goes")
    return (
        problems + _check_model(config) + _check_data(config) + _check_cluster(config.cluster) + _check_health(config)
    )


def build_policy(config: RerankConfig) -> Policy:
    """The core's view of how to ask."""
    return Policy(
        kind=config.policy.kind,
        max_thinking_tokens=config.policy.max_thinking_tokens,
        template=config.prompt.template,
        dataset_prompt=config.prompt.dataset_prompt,
    )


def input_paths(config: InputConfig) -> list[str]:
    """`input.path` as a list, whatever form it was given in."""
    return [str(path) for path in config.path] if isinstance(config.path, list) else [str(config.path)]


def _check_model(config: RerankConfig) -> list[str]:
    problems = []
    thinking = config.policy.max_thinking_tokens
    if config.engine.kind not in ENGINE_KINDS:
        problems.append(f"engine.kind is {config.engine.kind!r}, but must be one of {', '.join(ENGINE_KINDS)}")
    if config.policy.kind is PolicyKind.FULL and not LEAST_THINKING_TOKENS <= thinking < config.model.max_model_len:
        problems.append(
            f"policy.max_thinking_tokens is {thinking}, but must be at least {LEAST_THINKING_TOKENS} and less than "
            f"model.max_model_len ({config.model.max_model_len})"
        )
    if config.engine.max_num_seqs < 1:
        problems.append(f"engine.max_num_seqs is {config.engine.max_num_seqs}, but must be at least 1")
    own = {"model", "revision", "dtype", "max_model_len", "quantization", "trust_remote_code", "scheduling_policy"}
    own |= {"max_num_seqs", "max_num_batched_tokens", "tensor_parallel_size"}
    problems += [f"engine.args.{key} has a setting of its own: use it" for key in sorted(own & set(config.engine.args))]
    return problems


def _check_data(config: RerankConfig) -> list[str]:
    problems = []
    if not isinstance(config.input.path, str | list) or not input_paths(config.input):
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
    fixed = folder if not re.search(r"[*?[]", folder) else re.split(r"[*?[]", folder)[0].rpartition("/")[0]
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

"""The settings of `jobs.redo`: those of the main job, and which rows are judged again."""

from dataclasses import dataclass
from typing import Any

from rank1_batch.cli.command import Job
from rank1_batch.cli.fields import setting
from rank1_batch.settings import InputConfig, RerankConfig, check_config


@dataclass
class SameInput(InputConfig):
    """The input of the run that made the output, which need not be named again."""

    path: Any = setting("the pairs; left out, they are read where the run read them", None)


@dataclass
class RedoConfig(RerankConfig):
    """All settings of `jobs.redo`: those of the job, and which rows to judge again."""

    where: str = setting("an SQL condition for rows of the output")
    input: SameInput = setting("the pairs", SameInput)


JOB = Job(
    "redo",
    """\
Judges again the rows of a finished output for which an SQL condition holds, and
keeps all others. Reasoning that hit its token budget continues where it
stopped.

A setting that you leave out is that of the run that made the output, also where
another default stands in brackets. Settings that affect scores must stay the
same, except policy.*.

  rank1-batch redo output.path=s3://bucket/judged \\
    "where=finish = 'closed'" policy.max_thinking_tokens=16384
  rank1-batch redo output.path=s3://bucket/judged "where=finish = 'error'"

engine.env is not recorded with a run: name it again (or engine=vllm_cpu).
""",
    RedoConfig,
    check_config,
)

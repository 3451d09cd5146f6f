"""The settings of `jobs.redo`: those of the main job, and which rows are judged again."""

from dataclasses import dataclass

from rank1_batch.cli.command import Job
from rank1_batch.cli.fields import setting
from rank1_batch.settings import RerankConfig, check_config


@dataclass
class RedoConfig(RerankConfig):
    """All settings of `jobs.redo`: those of the job, and which rows to judge again."""

    where: str = setting("an SQL condition for rows of the output")


JOB = Job(
    "redo",
    """\
Judges again the rows of a finished output for which an SQL condition holds, and
keeps all others. Reasoning that hit its token budget continues where it
stopped. Settings are those of the run that made the output. Settings that
affect scores must stay the same, except policy.*.

  rank1-batch redo output.path=s3://bucket/judged \\
    "where=finish = 'closed'" policy.max_thinking_tokens=16384
  rank1-batch redo output.path=s3://bucket/judged "where=finish = 'error'"

engine.env is not recorded with a run: name it again (or engine=vllm_cpu).
""",
    RedoConfig,
    check_config,
)

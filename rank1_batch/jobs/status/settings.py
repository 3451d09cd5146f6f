"""The settings of `jobs.status`, and what is checked before anything is read."""

from dataclasses import dataclass

from rank1_batch.cli.command import Job
from rank1_batch.cli.fields import setting

STATUS_FORMATS = ("table", "json")


@dataclass
class StatusOutput:
    """Where the job's output is."""

    path: str = setting("what the rerank job writes")


@dataclass
class StatusConfig:
    """All settings of `jobs.status`."""

    output: StatusOutput = setting("the job", StatusOutput)
    format: str = setting("table, or json for machines", "table")


def check_config(config: StatusConfig) -> list[str]:
    """What is wrong with the settings, one sentence a problem."""
    return (
        []
        if config.format in STATUS_FORMATS
        else [f"format is {config.format!r}, but must be one of {', '.join(STATUS_FORMATS)}"]
    )


JOB = Job(
    "status",
    """\
Shows how far a rerank job is, from its output alone. It needs no cluster.

  rank1-batch status output.path=s3://bucket/judged
""",
    StatusConfig,
    check_config,
)

"""The main job's name and help; its settings are those of `rank1_batch/settings.py`."""

from rank1_batch.cli.command import Job
from rank1_batch.settings import RerankConfig, check_config

JOB = Job(
    "rerank",
    """\
Judges every query-passage pair of the input with a Rank1 model. Run the same
command again after a stop: it resumes where it stopped.

  rank1-batch rerank model=rank1_7b_awq input.path=s3://bucket/pairs \\
    output.path=s3://bucket/judged
""",
    RerankConfig,
    check_config,
)

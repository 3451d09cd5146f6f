"""The settings of `jobs.redo`: those of the main job, and which rows are judged again."""

from dataclasses import dataclass

from rank1_batch.cli.fields import setting
from rank1_batch.settings import RerankConfig


@dataclass
class RedoConfig(RerankConfig):
    """All settings of `jobs.redo`: those of the job, and which rows to judge again."""

    where: str = setting("an SQL condition for rows of the output")

"""Moved here."""

from dataclasses import dataclass

from omegaconf import MISSING

from rank1_batch.settings import RerankConfig


@dataclass
class RedoConfig(RerankConfig):
    """All settings of `jobs.redo`: those of the job, and which rows to judge again."""

    where: str = MISSING

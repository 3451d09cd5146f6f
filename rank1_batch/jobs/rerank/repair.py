"""Damaged files of judgments: what a run with `run.repair=true` says of them, and how it makes room for new ones."""

from collections.abc import Collection, Iterator, Sequence

from rank1_batch.errors import list_some
from rank1_batch.output.commits import check_committed, committed_units
from rank1_batch.output.generations import read_generations
from rank1_batch.output.layout import judgments_path
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.store import Store, delete_file


def describe_damage(output: Store, reasons: Sequence[str]) -> Iterator[str]:
    """What is judged again and why, a line each."""
    for reason in list_some(reasons):
        yield f"judged again, since its file is damaged: {reason}"
    if reasons and (again := read_generations(output)):
        yield f"These rows are judged as in jobs.rerank. Run jobs.redo again: where={again[-1]['where']}"


def delete_damaged(output: Store, units: Sequence[Unit], damaged: Collection[str]) -> None:
    """Delete the files of units that were found damaged, unless another run has mended them meanwhile."""
    there = committed_units(output) & set(damaged)
    found = check_committed(output, [unit for unit in units if unit.unit_id in there])
    for unit_id in found.damaged:
        delete_file(output, judgments_path(unit_id))

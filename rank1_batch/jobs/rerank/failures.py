"""Too many failed rows: when a job stops for them, and the commonest reasons with an example each."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from rank1_batch.columns import DOC_ID, ERROR, QUERY_ID
from rank1_batch.errors import BadFileError, ErrorRateError
from rank1_batch.output.counts import Counts, read_counts
from rank1_batch.output.judgments import read_judgments
from rank1_batch.output.layout import JUDGMENTS_FOLDER, judgments_path
from rank1_batch.pairs.units import Unit
from rank1_batch.storage.parquet import read_footers
from rank1_batch.storage.store import Store, list_files

FIRST_ROWS, FIRST_FACTOR = 1000, 10
"""A job whose rows fail ten times as often as allowed stops after the first 1,000: it need not wait for its end."""

FAILED_UNITS_READ = 32
"""Units with failed rows that are read for their reasons."""

REASONS_SHOWN = 3


def check_error_rate(output: Store, units: Sequence[Unit], total_rows: int, counts: Counts, limit: float) -> None:
    """Raises ErrorRateError if more rows have failed than `limit` (a share of all rows of the job) allows.

    It also does so once ten times that share has failed of the rows that are judged, 1,000 or more.
    """
    early = counts.rows >= FIRST_ROWS and counts.errors > FIRST_FACTOR * limit * counts.rows
    if not early and counts.errors <= limit * total_rows:
        return
    reasons = "\n".join(f"  {reason}" for reason in describe_failures(output, units))
    raise ErrorRateError(
        f"{counts.errors} of {counts.rows} judged rows have failed, of {total_rows} in all. "
        f"That is more than output.max_error_rate={limit:g} allows:\n{reasons}\n"
        "All judged rows are kept, and their `error` column says why rows failed.\n"
        "Fix the input, or raise output.max_error_rate and run the same command again."
    )


def describe_failures(output: Store, units: Sequence[Unit]) -> list[str]:
    """The commonest reasons, a line each: how many rows of those read, the reason, and one row as an example."""
    rows: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for unit in _find_failed(output, units):
        table = read_judgments(output, unit, [QUERY_ID, DOC_ID, ERROR])
        for query_id, doc_id, error in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
            if error is not None:
                kind = re.sub(r"\d+", "N", error)
                rows[kind] += 1
                examples.setdefault(kind, f"{error} (for example {query_id}/{doc_id})")
    return [f"{count} rows: {examples[kind]}" for kind, count in rows.most_common(REASONS_SHOWN)]


def _find_failed(output: Store, units: Sequence[Unit]) -> Iterator[Unit]:
    """Some committed units that have failed rows."""
    files = {file.path: file for file in list_files(output, JUDGMENTS_FOLDER)}
    committed = [unit for unit in units if judgments_path(unit.unit_id) in files]
    footers = read_footers(output, [files[judgments_path(unit.unit_id)] for unit in committed])
    found = 0
    for unit, footer in zip(committed, footers, strict=True):
        if not isinstance(footer, BadFileError) and read_counts(footer).errors:
            yield unit
            found += 1
            if found == FAILED_UNITS_READ:
                return

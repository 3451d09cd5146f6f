"""Whether this machine sees what the driver sees: this run in its output, and its input."""

from rank1_batch.errors import AccessError
from rank1_batch.output.lease import LEASE_PATH
from rank1_batch.storage.store import open_store, stat_file

SAME_PLACES = "input.path and output.path must be the same places on every node: a shared disk, or an object store"


def find_unseen(input_url: str, first_file: str, output_url: str) -> list[str]:
    """What this machine does not see of a run's places, a sentence each; empty where it sees both.

    A run keeps its lease in its output while it lives. Raises StorageError where a store does not answer.
    """
    source, output = open_store(input_url), open_store(output_url)
    unseen = []
    try:
        if stat_file(output, LEASE_PATH) is None:
            unseen.append(f"this node does not see the run in {output.url}: there is no {LEASE_PATH}")
        if stat_file(source, first_file) is None:
            unseen.append(f"this node does not see the input {source.url}: there is no {first_file}")
    except AccessError as error:
        unseen += [f"this node does not see {problem}" for problem in error.problems]
    return unseen

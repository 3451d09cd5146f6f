"""Whether this machine sees what the driver sees: this run in its output, its input, and the model's folder."""

from pathlib import Path

from rank1_batch.engines.checkpoint import find_folder, hash_folder
from rank1_batch.errors import AccessError
from rank1_batch.output.lease import LEASE_PATH
from rank1_batch.settings import ModelConfig
from rank1_batch.storage.store import open_store, stat_file

SAME_PLACES = (
    "input.path and output.path must be the same places on every node: a shared disk, or an object store. "
    "A model's folder must have the same path on every node."
)


def absolute_model(name: str) -> str:
    """The path of a model's folder in full. A name of a hub, or a path below the home folder, stays as it is."""
    return str(Path(name).absolute()) if name.startswith(("./", "../")) or Path(name).exists() else name


def find_unseen(input_url: str, first_file: str, output_url: str, model: str) -> list[str]:
    """What this machine does not see of a run's places, a sentence each. Empty if it sees all.

    A run keeps its lease in its output while it lives. `model` may be a name of a hub: then there is nothing to see.
    Raises StorageError where a store does not answer.
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
    if model.startswith(("/", "~")) and not Path(model).expanduser().exists():
        unseen.append(f"this node does not see the model: there is no {model}")
    return unseen


def find_other_weights(model: ModelConfig, weights: str | None) -> str | None:
    """How a local checkpoint here differs from the driver's, whose digest is `weights`; None where it does not."""
    if weights is None:
        return None
    folder = find_folder(model)
    if folder is None:
        return f"this node has no folder {model.name}: model.name must be the same checkpoint on every node"
    if hash_folder(folder) != weights:
        return f"{folder} holds other files than on the machine that started the job: copy the checkpoint again"
    return None

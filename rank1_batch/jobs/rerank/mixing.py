"""Units of one job that were judged by different versions of vLLM, torch or this package."""

import json

from rank1_batch.errors import RefusedError
from rank1_batch.output.commits import Committed
from rank1_batch.versions import scoring_versions


def check_versions(committed: Committed, choice: str) -> list[str]:
    """A warning for each set of other versions that judged units before. Scores of two versions may differ a little.

    Raises RefusedError with them where `choice` (`run.versions`) is refuse. Packages that one side does not name are
    not compared: a driver without a GPU has no vLLM, and files of earlier versions of this package name nothing.
    """
    found = [
        f"{units} units were judged with other versions: {', '.join(differing)}"
        for text, units in sorted(committed.versions.items())
        if (differing := _find_others(json.loads(text)))
    ]
    if found and choice == "refuse":
        raise RefusedError("\n".join([*found, "Install those versions, or let both mix with run.versions=warn."]))
    return found


def _find_others(then: dict[str, str]) -> list[str]:
    now = scoring_versions()
    return [f"{name} {then[name]}, now {now[name]}" for name in then if now.get(name, then[name]) != then[name]]

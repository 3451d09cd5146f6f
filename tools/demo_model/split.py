"""Which SciFact queries the demo model may learn from, and which are kept away to measure it.

The rule needs the query id alone, so everybody who bundles SciFact queries can apply it.
"""

import hashlib
from typing import Literal

Part = Literal["train", "dev", "held_out"]


def choose_part(query_id: str) -> Part:
    """`held_out` for about a third of all queries, `dev` for a tenth of the others, else `train`.

    n is the SHA-256 of the id as a whole number. The query is held out if n is divisible by 3.
    """
    number = int(hashlib.sha256(query_id.encode()).hexdigest(), 16)
    if number % 3 == 0:
        return "held_out"
    return "dev" if number // 3 % 10 == 0 else "train"

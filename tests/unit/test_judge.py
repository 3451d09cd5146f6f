import math

from rank1_batch.judging import Finish, Judgment, failed_judgment
from rank1_batch.manifest import Counts
from rank1_batch.scoring import Verdict, score_verdict
from rank1_batch.stages.judge import count_judgments


def judgment_of(true: float, false: float, finish: Finish = Finish.COMPLETE) -> Judgment:
    """The judgment of a model that gives these probabilities to the two words."""
    verdict = Verdict(math.log(true), math.log(false))
    return Judgment(score_verdict(verdict), *verdict, true > false, finish, "trace", 10, 3, False, None)


def test_a_unit_is_counted_by_how_its_rows_came_out() -> None:
    judgments = [
        judgment_of(0.9, 0.1),
        judgment_of(1 - 1e-8, 1e-8),
        judgment_of(1e-8, 1 - 1e-8, Finish.CLOSED),
        judgment_of(0.2, 0.1),
        judgment_of(1e-9, 1e-3)._replace(passage_truncated=True),
        failed_judgment("no text"),
    ]
    assert count_judgments(judgments) == Counts(
        rows=6, errors=1, complete=4, closed=1, truncated=1, true_labels=3,
        prompt_tokens=50, trace_tokens=15, saturated=3, stray=2,
    )  # fmt: skip

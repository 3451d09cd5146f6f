"""Laws of the choice: what may be relied on whatever the rules and the rows are."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.jobs.export.choice import (
    Candidate,
    Choice,
    LabelSource,
    Pick,
    Reason,
    Rules,
    choose_rows,
    draw_share,
    is_dev,
)

SCORES = st.none() | st.floats(0.0, 1.0) | st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0])
FINISHES = st.sampled_from(["complete", "closed", "no_think"])
CAPS = st.none() | st.integers(1, 3)


@st.composite
def judged_rows(draw: st.DrawFn) -> list[Candidate]:
    rows = []
    for place in range(draw(st.integers(0, 12))):
        score = draw(SCORES)
        label = None if score is None else score > 0.5
        rows.append(
            Candidate(
                place=place,
                doc_id=draw(st.sampled_from("abcdefgh")),
                score=score,
                label=label,
                finish="error" if score is None else draw(FINISHES),
                passage=draw(st.none() | st.sampled_from(["red", "green", "blue", "grey", "pink"])),
                first_stage_rank=draw(st.none() | st.integers(1, 20)),
                given=draw(st.none() | st.booleans()),
            )
        )
    return rows


@st.composite
def all_rules(draw: st.DrawFn) -> Rules:
    positive_from = draw(st.floats(0.0, 1.0))
    low = draw(st.integers(1, 10))
    return Rules(
        source=draw(st.sampled_from(LabelSource)),
        finishes=frozenset(draw(st.sets(FINISHES, min_size=1))),
        agree=draw(st.booleans()),
        positive_from=positive_from,
        negative_to=draw(st.floats(0.0, positive_from)),
        margin=draw(st.none() | st.floats(0.0, 0.5)),
        negative_ranks=draw(st.none() | st.just((low, low + 6))),
        drop_called_true=draw(st.booleans()),
        ratio=draw(st.none() | st.floats(0.1, 1.0)),
        max_positives=draw(CAPS),
        max_negatives=draw(CAPS),
        negatives_per_positive=draw(CAPS),
        pick=draw(st.sampled_from(Pick)),
        keep_without_positive=draw(st.booleans()),
        keep_without_negative=draw(st.booleans()),
        seed=draw(st.integers(0, 3)),
    )


def score_of(row: Candidate) -> float:
    """The score of a row that was taken: it has one."""
    assert row.score is not None
    return row.score


def taken(choice: Choice) -> list[Candidate]:
    return choice.positives + choice.negatives


@given(judged_rows(), all_rules())
def test_every_row_is_taken_or_left_out_for_one_reason(rows: list[Candidate], rules: Rules) -> None:
    choice = choose_rows("q", rows, rules)
    assert len(taken(choice)) + choice.left_out.total() == len(rows)
    assert set(taken(choice)) <= set(rows)


@given(judged_rows(), all_rules())
def test_no_pair_is_both_positive_and_negative_and_none_is_there_twice(rows: list[Candidate], rules: Rules) -> None:
    chosen = taken(choose_rows("q", rows, rules))
    texts = [row.passage for row in chosen if row.passage is not None]
    assert len({row.doc_id for row in chosen}) == len(chosen)
    assert len(set(texts)) == len(texts)


@given(judged_rows(), all_rules())
def test_failed_rows_and_other_endings_are_never_taken(rows: list[Candidate], rules: Rules) -> None:
    for row in taken(choose_rows("q", rows, rules)):
        assert row.score is not None
        assert row.finish in rules.finishes


@given(judged_rows(), all_rules())
def test_thresholds_hold(rows: list[Candidate], rules: Rules) -> None:
    choice = choose_rows("q", rows, rules)
    if rules.source is LabelSource.MODEL:
        assert all(score_of(row) >= rules.positive_from for row in choice.positives)
        assert all(score_of(row) <= rules.negative_to for row in choice.negatives if row.score != rules.positive_from)
    else:
        assert all(row.given for row in choice.positives)
        assert not any(row.given for row in choice.negatives)


@given(judged_rows(), all_rules())
def test_margins_hold_between_all_positives_and_all_negatives(rows: list[Candidate], rules: Rules) -> None:
    choice = choose_rows("q", rows, rules)
    gaps = [score_of(good) - score_of(bad) for good in choice.positives for bad in choice.negatives]
    assert rules.margin is None or all(gap >= rules.margin for gap in gaps)


@given(judged_rows(), all_rules())
def test_false_negatives_are_not_taken(rows: list[Candidate], rules: Rules) -> None:
    choice = choose_rows("q", rows, rules)
    best = max((score_of(row) for row in choice.positives), default=None)
    for row in choice.negatives:
        assert not (rules.drop_called_true and row.label)
        assert rules.ratio is None or best is None or score_of(row) <= rules.ratio * best


@given(judged_rows(), all_rules())
def test_negatives_come_from_the_rank_range(rows: list[Candidate], rules: Rules) -> None:
    if rules.negative_ranks is not None:
        low, high = rules.negative_ranks
        assert all(low <= (row.first_stage_rank or 0) <= high for row in choose_rows("q", rows, rules).negatives)


@given(judged_rows(), all_rules())
def test_caps_and_balance_hold(rows: list[Candidate], rules: Rules) -> None:
    choice = choose_rows("q", rows, rules)
    assert rules.max_positives is None or len(choice.positives) <= rules.max_positives
    assert rules.max_negatives is None or len(choice.negatives) <= rules.max_negatives
    if rules.negatives_per_positive is not None:
        assert len(choice.negatives) <= rules.negatives_per_positive * len(choice.positives)


@given(judged_rows(), all_rules())
def test_a_cap_leaves_nothing_out_that_has_room(rows: list[Candidate], rules: Rules) -> None:
    choice = choose_rows("q", rows, rules)
    if choice.left_out[Reason.POSITIVE_CAP] and taken(choice):
        assert len(choice.positives) == rules.max_positives
        loosest = min(score_of(row) for row in choice.positives)
        over = [row for row in rows if row not in taken(choice) and row.finish in rules.finishes and row.score]
        if rules.source is LabelSource.MODEL and not rules.agree and not choice.left_out[Reason.DUPLICATE]:
            assert all(score_of(row) <= loosest for row in over)


@given(judged_rows(), all_rules())
def test_a_query_without_a_class_is_dropped_unless_it_may_stay(rows: list[Candidate], rules: Rules) -> None:
    choice = choose_rows("q", rows, rules)
    if taken(choice):
        assert choice.positives or rules.keep_without_positive
        assert choice.negatives or rules.keep_without_negative


@given(judged_rows(), all_rules())
def test_self_filter_keeps_pairs_where_verdict_and_given_label_agree(rows: list[Candidate], rules: Rules) -> None:
    chosen = taken(choose_rows("q", rows, rules._replace(agree=True)))
    assert all(row.given is not None and row.given == row.label for row in chosen)


@given(judged_rows(), all_rules(), st.randoms(use_true_random=False))
def test_the_seed_decides_everything(rows: list[Candidate], rules: Rules, chance: random.Random) -> None:
    """The order in which rows are found changes nothing."""
    shuffled = list(rows)
    chance.shuffle(shuffled)
    assert choose_rows("q", shuffled, rules) == choose_rows("q", rows, rules)


@given(judged_rows(), all_rules())
def test_an_equal_query_later_takes_no_text_again(rows: list[Candidate], rules: Rules) -> None:
    seen: set[str] = set()
    first, second = (taken(choose_rows(query_id, rows, rules, seen)) for query_id in ("q1", "q2"))
    assert not {row.passage for row in first if row.passage} & {row.passage for row in second if row.passage}


def test_another_seed_picks_other_negatives() -> None:
    rows = [Candidate(0, "p", 0.9, True, "complete")]
    rows += [Candidate(n, f"n{n}", 0.1, False, "complete") for n in range(1, 41)]
    picks = {
        tuple(row.doc_id for row in choose_rows("q", rows, Rules(max_negatives=5, seed=seed)).negatives)
        for seed in range(5)
    }
    assert len(picks) == 5


def test_hard_negatives_are_the_first_stages_best() -> None:
    rows = [Candidate(0, "p", 0.9, True, "complete", first_stage_rank=9)]
    rows += [Candidate(n, f"n{n}", n / 100, False, "complete", first_stage_rank=20 - n) for n in range(1, 11)]
    choice = choose_rows("q", rows, Rules(max_negatives=2, pick=Pick.HARD))
    assert [row.first_stage_rank for row in choice.negatives] == [10, 11]
    assert choice.left_out == Counter({Reason.NEGATIVE_CAP: 8})


def test_people_say_what_is_positive_and_the_model_removes_false_negatives() -> None:
    rows = [
        Candidate(0, "labelled", 0.4, False, "complete", given=True),
        Candidate(1, "missed by people", 0.9, True, "complete"),
        Candidate(2, "negative", 0.1, False, "complete"),
    ]
    choice = choose_rows("q", rows, Rules(source=LabelSource.GIVEN))
    assert [row.doc_id for row in choice.positives] == ["labelled"]
    assert [row.doc_id for row in choice.negatives] == ["negative"]
    assert choice.left_out == Counter({Reason.CALLED_TRUE: 1})


@given(st.lists(st.text(), min_size=1), st.floats(0.0, 1.0), st.integers())
def test_equal_queries_go_to_the_same_split(queries: list[str], share: float, seed: int) -> None:
    dev = {query for query in queries if is_dev(query, share, seed)}
    assert not dev & {query for query in queries if not is_dev(query, share, seed)}
    assert all(0 <= draw_share(seed, "split", query) < 1 for query in queries)


def test_about_the_asked_share_of_queries_goes_to_dev() -> None:
    dev = sum(is_dev(f"query {n}", 0.2, seed=7) for n in range(2000))
    assert 340 < dev < 460

import asyncio
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.engines.scripted import CLOSE_ID, THINK_ID, ScriptedEngine
from rank1_batch.errors import EngineDiedError, RowError
from rank1_batch.judging.fitting import CLOSING_TOKENS, encode_prompt, render_pair
from rank1_batch.judging.pair import judge_given_trace, judge_pair
from rank1_batch.judging.prompts import RANK1_TEMPLATE
from rank1_batch.judging.readers import RANK1, Answer, Reader
from rank1_batch.judging.records import Begun, Finish, Judgment, Pair, Policy, PolicyKind, Reasoning, failed_judgment
from rank1_batch.judging.scoring import Verdict
from tests.support.fake_engines import RecordingEngine

FULL = Policy(PolicyKind.FULL, 1024, RANK1_TEMPLATE)
NO_THINK = Policy(PolicyKind.NO_THINK, 1, RANK1_TEMPLATE)
FRANCE = Pair("capital of France", "Paris is the capital of France.")
GRADES = Reader(tuple(Answer(str(grade), grade) for grade in (3, 2, 1, 0)), "##score:", " ", relevant_from=2)
YES_NO = Reader((Answer("yes", 1), Answer("no", 0)), think_end=None)

evil_texts = st.lists(
    st.sampled_from(["<think>", "</think>", "<", "/think>", "think>", "{query}", "{passage}", "FILL_QUERY_HERE", " x "])
    | st.text(max_size=5)
).map("".join)
full_texts = evil_texts.filter(lambda text: text.strip() != "")
plain_texts = st.text(alphabet=st.characters(exclude_characters="<", codec="utf-8")).filter(
    lambda text: text.strip() != ""
)


def judge(engine: RecordingEngine | ScriptedEngine, pair: Pair, policy: Policy = FULL) -> Judgment:
    return asyncio.run(judge_pair(engine, pair, policy))


def plain_prompt(query: str, passage: str) -> str:
    return (
        "Determine if the following passage is relevant to the query. Answer only with 'true' or 'false'.\n"
        f"Query: {query}\nPassage: {passage}\n<think>"
    )


def test_complete_reasoning_goes_back_to_the_engine_token_by_token() -> None:
    written = Reasoning([10, 65, 66, CLOSE_ID], "\nAB", 4, complete=True)
    engine = RecordingEngine(reasoning=written, verdict=(math.log(0.6), math.log(0.2)))
    judgment = judge(engine, FRANCE)
    prompt = engine.encode(plain_prompt(FRANCE.query or "", FRANCE.passage or ""))
    assert engine.verdict_asked == [[*prompt, 10, 65, 66, CLOSE_ID]]
    assert judgment.score == pytest.approx(0.75, abs=1e-15)
    assert (judgment.true_logprob, judgment.false_logprob) == (math.log(0.6), math.log(0.2))
    assert (judgment.label, judgment.finish, judgment.trace) == (True, Finish.COMPLETE, "\nAB")
    assert (judgment.prompt_tokens, judgment.trace_tokens) == (len(prompt), 4)
    assert (judgment.passage_truncated, judgment.error) == (False, None)


@given(st.text(alphabet="ab .!?\n", max_size=60))
def test_unfinished_reasoning_is_closed_as_in_the_reference_and_kept_whole(text: str) -> None:
    engine = RecordingEngine(reasoning=Reasoning(list(text.encode()), text, len(text), complete=False))
    judgment = judge(engine, FRANCE)
    match = re.match(r".*[.!?]", text, re.DOTALL)
    cut = (match[0] if match else text).strip()
    prompt = plain_prompt(FRANCE.query or "", FRANCE.passage or "")
    assert engine.verdict_asked == [engine.encode(f"{prompt}\n{cut}\n</think>")]
    assert (judgment.finish, judgment.trace, judgment.trace_tokens) == (Finish.CLOSED, text, len(text))
    assert judgment.score is not None


def test_without_thinking_the_verdict_is_read_at_once_and_there_is_no_trace() -> None:
    engine = RecordingEngine()
    judgment = judge(engine, FRANCE, NO_THINK)
    assert engine.reason_asked == []
    (asked,) = engine.verdict_asked
    start = engine.encode(plain_prompt(FRANCE.query or "", FRANCE.passage or ""))
    assert asked[: len(start)] == start
    assert asked[-1] == CLOSE_ID
    assert bytes(asked[len(start) : -1]).decode().strip() == ""
    assert (judgment.finish, judgment.trace, judgment.trace_tokens) == (Finish.NO_THINK, None, 0)


@pytest.mark.parametrize(("verdict", "label"), [((-1.0, -2.0), True), ((-2.0, -1.0), False), ((-1.0, -1.0), False)])
def test_the_label_is_the_likelier_word_and_agrees_with_the_score(verdict: Verdict, label: bool) -> None:
    judgment = judge(RecordingEngine(verdict=verdict), FRANCE)
    assert judgment.label is label
    assert ((judgment.score or 0.0) > 0.5) is label


@pytest.mark.parametrize(
    ("pair", "error"),
    [
        (Pair(None, "p"), "the query is null"),
        (Pair("q", None), "the passage is null"),
        (Pair("", "p"), "the query is empty"),
        (Pair("q", " \n\t"), "the passage is empty"),
        (Pair(None, None, "title", "instruction"), "the query is null"),
        (Pair("q", " ", " \t"), "the passage is empty"),
        (Pair("q", None, ""), "the passage is null"),
    ],
)
def test_a_pair_without_text_becomes_an_error_that_says_what_is_missing(pair: Pair, error: str) -> None:
    engine = RecordingEngine()
    assert judge(engine, pair) == failed_judgment(error)
    assert (engine.reason_asked, engine.verdict_asked) == ([], [])


@pytest.mark.parametrize("text", ["", None])
def test_a_title_without_text_is_a_passage(text: str | None) -> None:
    """The reference builds `f"{title} {text}"` (orionw/rank1 @30585c2, rank1.py line 270), and keeps the blank."""
    engine = RecordingEngine()
    assert judge(engine, Pair("q", text, "Only a title"), NO_THINK).error is None
    [asked] = engine.verdict_asked
    start = engine.encode(plain_prompt("q", "Only a title "))
    assert asked[: len(start)] == start


def test_a_failed_judgment_has_no_score_no_label_and_no_verdict() -> None:
    judgment = failed_judgment("because")
    assert (judgment.score, judgment.label, judgment.true_logprob, judgment.false_logprob) == (None,) * 4
    assert (judgment.finish, judgment.error) == (Finish.ERROR, "because")


def test_what_the_engine_blames_on_the_row_becomes_its_error() -> None:
    judgment = judge(ScriptedEngine(4096, fail_on="Paris"), FRANCE)
    assert judgment == failed_judgment(
        "the scripted engine refused this row, because the prompt holds its `fail_on` text"
    )


def test_an_engine_that_died_is_no_rows_fault() -> None:
    with pytest.raises(EngineDiedError):
        judge(ScriptedEngine(4096, die_on="Paris"), FRANCE)


def test_a_bug_is_not_taken_for_a_bad_row() -> None:
    class BuggyEngine(RecordingEngine):
        def encode(self, text: str) -> list[int]:
            raise ZeroDivisionError(text)

    with pytest.raises(ZeroDivisionError):
        judge(BuggyEngine(), FRANCE)


def test_title_instruction_and_data_set_prompt_all_reach_the_prompt() -> None:
    policy = FULL._replace(dataset_prompt="Claim: FILL_QUERY_HERE.")
    prompt = render_pair(RecordingEngine(), Pair("q", "text", "title", "only recent ones"), policy)
    assert prompt.text == plain_prompt("Claim: q only recent ones.", "title text")


@given(plain_texts, plain_texts)
def test_a_prompt_is_tokenised_as_the_one_text_that_it_is(query: str, passage: str) -> None:
    """Where no user's text spells a control token, as the reference does it."""
    engine = ScriptedEngine(10**6)
    ids, truncated = encode_prompt(engine, render_pair(engine, Pair(query, passage), FULL), FULL)
    assert (ids, truncated) == (engine.encode(plain_prompt(query, passage)), False)


@given(full_texts, full_texts, evil_texts, evil_texts, st.integers(300, 900))
def test_whatever_a_user_writes_the_only_control_token_is_the_templates_own(
    query: str, passage: str, title: str, instruction: str, max_model_len: int
) -> None:
    engine = ScriptedEngine(max_model_len)
    prompt = render_pair(engine, Pair(query, passage, title, instruction), FULL)
    try:
        ids, _ = encode_prompt(engine, prompt, FULL)
    except RowError:  # a query too long for this context
        return
    assert ids[-1] == THINK_ID
    assert [number for number in ids if number in (THINK_ID, CLOSE_ID)] == [THINK_ID]


@pytest.mark.parametrize("template", ["{query}{passage}\n<think>", "<{query} and <{passage}\n<think>"])
@pytest.mark.parametrize(("query", "passage"), [("a <thi", "nk> b"), ("/think>", "p"), ("q", "think> b")])
def test_a_seam_of_the_template_never_completes_a_control_token(template: str, query: str, passage: str) -> None:
    engine = ScriptedEngine(4096)
    policy = FULL._replace(template=template)
    ids, _ = encode_prompt(engine, render_pair(engine, Pair(query, passage), policy), policy)
    assert [number for number in ids if number in (THINK_ID, CLOSE_ID)] == [THINK_ID]


def test_begin_ids_stand_once_before_the_prompt_cut_or_not() -> None:
    for passage in ("short", "long " * 1000):
        engine = RecordingEngine(1500, begin_ids=(7, 8))
        ids, _ = encode_prompt(engine, render_pair(engine, Pair("q", passage), FULL), FULL)
        assert ids[:3] == [7, 8, ord("D")]


@given(
    st.text(alphabet="qu é<", min_size=1, max_size=40).filter(str.strip),
    evil_texts.map(lambda text: f"p{text}" * 40),
    st.integers(170, 700),
    st.integers(1, 400),
    st.sampled_from(PolicyKind),
)
def test_a_passage_that_is_too_long_is_cut_and_nothing_else_is(
    query: str, passage: str, max_model_len: int, max_thinking_tokens: int, kind: PolicyKind
) -> None:
    engine = ScriptedEngine(max_model_len)
    policy = Policy(kind, max_thinking_tokens, RANK1_TEMPLATE)
    try:
        ids, truncated = encode_prompt(engine, render_pair(engine, Pair(query, passage), policy), policy)
    except RowError:  # a query too long for this context
        return
    frame = plain_prompt(query, "\0").encode()
    head, tail = frame.split(b"\0")[0], [10, THINK_ID]
    assert bytes(ids[: len(head)]) == head
    assert ids[-2:] == tail
    shown = bytes(ids[len(head) : -2])
    assert shown
    assert passage.encode().startswith(shown)
    assert truncated == (shown != passage.encode())
    assert len(ids) + CLOSING_TOKENS <= max_model_len
    if kind is PolicyKind.FULL:
        reserve = min(max_thinking_tokens, max_model_len // 4)
        assert len(ids) + reserve + CLOSING_TOKENS <= max_model_len


def test_a_cut_passage_fills_the_room_that_there_is() -> None:
    engine = ScriptedEngine(1000)
    policy = FULL._replace(max_thinking_tokens=100)
    ids, truncated = encode_prompt(engine, render_pair(engine, Pair("q", "x" * 5000), policy), policy)
    assert (len(ids), truncated) == (1000 - 100 - CLOSING_TOKENS, True)


def test_a_huge_passage_is_not_tokenised_whole() -> None:
    engine = RecordingEngine(1000)
    judgment = judge(engine, Pair("q", "x" * 10_000_000))
    assert judgment.passage_truncated
    assert engine.encoded_letters < 1_000_000


def test_a_query_that_leaves_no_room_for_a_passage_is_an_error_with_both_numbers() -> None:
    judgment = judge(ScriptedEngine(1000), Pair("q" * 2000, "p"))
    assert judgment.finish is Finish.ERROR
    assert re.search(r"no room for a passage: \d{4} of \d{3} tokens", judgment.error or "")


@given(st.integers(1, 4000), st.integers(1, 2000))
def test_the_model_may_think_up_to_the_budget_or_the_end_of_its_context(passage_size: int, budget: int) -> None:
    engine = RecordingEngine(2000)
    judge(engine, Pair("q", "x" * passage_size), FULL._replace(max_thinking_tokens=budget))
    ((prompt, max_tokens),) = engine.reason_asked
    assert max_tokens == min(budget, 2000 - len(prompt) - CLOSING_TOKENS)
    assert max_tokens >= min(budget, 500)


@given(st.text(alphabet="ab .é", max_size=3000), st.integers(300, 1200), st.integers(1, 1200))
def test_a_verdicts_prompt_always_leaves_room_for_the_verdict(text: str, max_model_len: int, budget: int) -> None:
    """Also where the text of the reasoning is tokenised into more tokens than were generated."""
    engine = RecordingEngine(max_model_len, reasoning=Reasoning([], text, 1, complete=False))
    judgment = judge(engine, FRANCE, FULL._replace(max_thinking_tokens=budget))
    assert judgment.finish is Finish.CLOSED
    (asked,) = engine.verdict_asked
    assert len(asked) + 1 <= max_model_len
    assert asked[-1] == CLOSE_ID
    start = engine.encode(plain_prompt(FRANCE.query or "", FRANCE.passage or ""))
    assert asked[: len(start)] == start


@given(full_texts, full_texts, st.integers(1, 300), st.sampled_from(PolicyKind))
def test_every_pair_gets_a_judgment_that_agrees_with_itself(
    query: str, passage: str, budget: int, kind: PolicyKind
) -> None:
    judgment = judge(ScriptedEngine(600), Pair(query, passage), Policy(kind, budget, RANK1_TEMPLATE))
    if judgment.finish is Finish.ERROR:
        assert judgment == failed_judgment(judgment.error or "")
        return
    assert judgment.error is None
    assert 0.0 <= (judgment.score or 0.0) <= 1.0
    assert judgment.trace_tokens <= budget
    assert (judgment.trace is None) == (kind is PolicyKind.NO_THINK)
    assert judge(ScriptedEngine(600), Pair(query, passage), Policy(kind, budget, RANK1_TEMPLATE)) == judgment


def judge_given(engine: RecordingEngine, pair: Pair, found: Judgment, policy: Policy = FULL) -> Judgment:
    complete = found.finish is Finish.COMPLETE
    return asyncio.run(judge_given_trace(engine, pair, policy, found.trace, complete=complete))


@given(full_texts, full_texts, st.integers(1, 400))
def test_a_pair_with_its_own_trace_given_is_judged_as_it_was(query: str, passage: str, budget: int) -> None:
    """One request for the verdict after the very tokens of before; complete, closed by force, and cut passages."""
    pair, policy = Pair(query, passage), FULL._replace(max_thinking_tokens=budget)
    first, second = RecordingEngine(512), RecordingEngine(512)
    found = judge(first, pair, policy)
    assert judge_given(second, pair, found, policy) == found
    assert second.verdict_asked == first.verdict_asked
    assert second.reason_asked == []


def test_a_pair_without_a_trace_is_judged_as_without_thinking() -> None:
    first, second = RecordingEngine(), RecordingEngine()
    found = judge(first, FRANCE, NO_THINK)
    assert judge_given(second, FRANCE, found, NO_THINK) == found
    assert second.verdict_asked == first.verdict_asked


def test_a_trace_of_unusual_tokens_has_another_number_of_them() -> None:
    """Generated tokens are not always those that the tokenizer makes of their text: the count tells."""
    written = Reasoning([65, 66, CLOSE_ID, CLOSE_ID], "AB", 4, complete=True)
    found = judge(RecordingEngine(reasoning=written), FRANCE)
    assert judge_given(RecordingEngine(), FRANCE, found).trace_tokens == 3 != found.trace_tokens


def test_a_given_pair_that_cannot_be_judged_says_why() -> None:
    found = asyncio.run(judge_given_trace(RecordingEngine(), Pair("q", ""), FULL, "trace", complete=True))
    assert found == failed_judgment("the passage is empty")


LONG = FULL._replace(max_thinking_tokens=1000)


@given(st.integers(min_value=1, max_value=400), full_texts)
def test_begun_reasoning_is_gone_on_with_and_ends_as_if_it_had_never_stopped(budget: int, passage: str) -> None:
    engine, pair = RecordingEngine(), Pair("what is a lamp", passage)
    before = judge(engine, pair, FULL._replace(max_thinking_tokens=budget))
    if before.finish is not Finish.CLOSED:
        return
    begun = Begun(before.trace or "", before.prompt_tokens, before.trace_tokens)
    assert judge(engine, pair._replace(begun=begun), LONG) == judge(engine, pair, LONG)
    asked, max_tokens = engine.reason_asked[1]
    assert len(asked) == before.prompt_tokens + budget
    assert max_tokens == LONG.max_thinking_tokens - budget


@pytest.mark.parametrize(
    "begun",
    [
        Begun("The query", 9, 9),  # another prompt
        Begun("The query", 0, 8),  # tokens that the text does not give back
        Begun("x" * 1000, 0, 1000),  # nothing of the budget is left
    ],
)
def test_reasoning_that_cannot_be_gone_on_with_begins_anew(begun: Begun) -> None:
    engine = RecordingEngine()
    prompt = engine.encode(plain_prompt(FRANCE.query or "", FRANCE.passage or ""))
    begun = begun._replace(prompt_tokens=begun.prompt_tokens or len(prompt))
    assert judge(engine, FRANCE._replace(begun=begun), LONG) == judge(engine, FRANCE, LONG)
    assert engine.reason_asked[0] == (prompt, LONG.max_thinking_tokens)


def test_a_graded_answer_is_read_after_its_mark_and_has_a_grade() -> None:
    written = Reasoning([*b"Close. ##score:"], "Close. ", 15, complete=True)
    shares = (0.1, 0.6, 0.2, 0.1)
    engine = RecordingEngine(reasoning=written, verdict=tuple(map(math.log, shares)))
    judgment = judge(engine, FRANCE, FULL._replace(reader=GRADES))
    (asked,) = engine.verdict_asked
    assert bytes(asked[-16:]) == b"Close. ##score: "
    assert judgment.score == pytest.approx((0.1 * 3 + 0.6 * 2 + 0.2) / 3)
    assert (judgment.grade, judgment.label, judgment.finish) == (2, True, Finish.COMPLETE)
    assert judgment.answer_logprobs == tuple(map(math.log, shares))
    assert (judgment.true_logprob, judgment.false_logprob) == (None, None)


def test_reasoning_that_never_reaches_its_mark_is_closed_by_it() -> None:
    engine = RecordingEngine(reasoning=Reasoning([65], "A. b", 1, complete=False), verdict=(-9.0, -9.0, -9.0, -0.1))
    judgment = judge(engine, FRANCE, FULL._replace(reader=GRADES))
    (asked,) = engine.verdict_asked
    assert bytes(asked[1 + len(engine.encode(plain_prompt(*FRANCE[:2]))) - 1 :]) == b"\nA.\n##score: "  # type: ignore[arg-type]
    assert (judgment.grade, judgment.label, judgment.finish) == (0, False, Finish.CLOSED)


def test_a_model_that_never_reasons_answers_right_after_the_prompt() -> None:
    engine = RecordingEngine()
    judgment = judge(engine, FRANCE, NO_THINK._replace(template="{query}|{passage}|", reader=YES_NO))
    assert engine.reason_asked == []
    assert [bytes(asked) for asked in engine.verdict_asked] == [f"{FRANCE.query}|{FRANCE.passage}|".encode()]
    assert (judgment.finish, judgment.grade) == (Finish.NO_THINK, None)


@pytest.mark.parametrize(("own", "shown"), [("Find capitals.", "Find capitals."), (None, "Find."), ("  ", "Find.")])
def test_an_instruction_goes_where_the_template_has_a_place_for_it(own: str | None, shown: str) -> None:
    template = "<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {passage}"
    policy = NO_THINK._replace(template=template, instruction="Find.", reader=YES_NO)
    engine = RecordingEngine()
    judge(engine, FRANCE._replace(instruction=own), policy)
    text = f"<Instruct>: {shown}\n<Query>: {FRANCE.query}\n<Document>: {FRANCE.passage}"
    assert [bytes(asked) for asked in engine.verdict_asked] == [text.encode()]


@pytest.mark.parametrize("reader", [RANK1, GRADES, YES_NO])
@given(letters=st.integers(0, 600), budget=st.integers(1, 200))
def test_no_reader_asks_beyond_the_context(reader: Reader, letters: int, budget: int) -> None:
    policy = (FULL if reader.think_end else NO_THINK)._replace(max_thinking_tokens=budget, reader=reader)
    engine = RecordingEngine(512, verdict=(-1.0,) * len(reader.answers))
    judge(engine, Pair("q", "x" * (letters + 1)), policy)
    assert all(len(asked) < 512 for asked in engine.verdict_asked)

"""The modules of a report's program, one by one, in the browser that they are written for."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rank1_batch.jobs.report.page import ASSETS, strip_module
from rank1_batch.jobs.report.pieces import encode_piece
from tests.support.browser import Page, run_browser

MODULES = ("text.js", "hash.js", "data.js", "filters.js", "moves.js", "dom.js")

Call = Callable[[str], Any]


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """The value of an expression in which all names of the modules are known, on an empty page."""
    program = "\n".join(strip_module((ASSETS / name).read_text()) for name in MODULES)
    with run_browser(tmp_path_factory.mktemp("profile")) as page:
        page.open("about:blank")
        yield lambda code: evaluate(page, program, code)


def evaluate(page: Page, program: str, code: str) -> Any:
    once = (
        "window.trustedTypes && Object.defineProperty(window, 'trustedTypes', {value: undefined, configurable: true});"
    )
    return page.evaluate(f"(() => {{ {once}\n{program}\nreturn ({code}); }})()")


def js(value: Any) -> str:
    return json.dumps(value)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("Who wins the NBA Finals of 2023?", ["win", "nba", "final", "2023"]),
        ("What are the policies on café lights", ["policy", "cafe", "light"]),
        ("glass is a", ["glass"]),
        ("东京的天气", ["东京", "天气"]),
        ("", []),
    ],
)
def test_the_words_of_a_query_are_those_that_say_what_it_is_about(call: Call, query: str, words: list[str]) -> None:
    found = call(f"[...findWords({js(query)})]")
    assert [word for word in found if word != "的"] == words


def test_words_are_marked_in_any_form_and_the_text_stays_whole(call: Call) -> None:
    text = "The final: NBA's Finals — FINAL, semifinal.\n<b>final</b>"
    pieces = call(f"splitMarked({js(text)}, findWords('finals'))")
    assert "".join(piece for piece, _ in pieces) == text
    assert [piece for piece, marked in pieces if marked] == ["final", "Finals", "FINAL", "final"]


def test_a_text_falls_into_paragraphs_without_empty_ones(call: Call) -> None:
    assert call("splitParagraphs('\\n one\\n\\n\\n two \\nthree\\n')") == ["one", "two", "three"]


def test_letters_that_cannot_be_seen_have_pictures_as_on_the_first_page(call: Call) -> None:
    assert call("showControls('a\\u0000b\\u007f\\n')") == "a\N{SYMBOL FOR NULL}b\N{SYMBOL FOR DELETE}\n"


@pytest.mark.parametrize(
    ("score", "text"),
    [(0, "0.000"), (1e-9, "<.001"), (0.0006, "0.001"), (0.5, "0.500"), (0.9996, ">.999"), (1, "1.000")],
)
def test_a_score_is_not_shown_as_0_or_1_unless_it_is(call: Call, score: float, text: str) -> None:
    assert call(f"formatScore({score})") == text


def test_a_text_is_cut_between_letters_also_where_one_takes_two_units(call: Call) -> None:
    assert call("cutText('👩👩👩👩', 3)") == "👩👩…"
    assert call("cutText('a\\n b', 9)") == "a b"


@pytest.mark.parametrize(
    ("view", "params"),
    [
        ("overview", {}),
        ("queries", {"find": "a b&c=d#e%", "sort": "id"}),
        ("rows", {"score": "0.2..0.4"}),
        ("query", {"q": "q&d=1#%41 ü", "d": ""}),
        ("query", {"q": "</script>", "d": "d\u0000"}),
    ],
)
def test_an_address_comes_back_as_it_was_built(call: Call, view: str, params: dict[str, str]) -> None:
    assert call(f"parseHash(buildHash({js(view)}, {js(params)}))") == {"view": view, "params": params}


@pytest.mark.parametrize("hash_", ["", "#", "#nothing", "#a=b", "#%E0%A4%A", "#&&=&"])
def test_an_unknown_address_is_the_overview(call: Call, hash_: str) -> None:
    assert call(f"parseHash({js(hash_)}).view") == "overview"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.2..0.4", [0.2, 0.4]),
        ("..0.4", [None, 0.4]),
        ("0.9 to 1", [0.9, 1]),
        ("0.2", None),
        ("", None),
        ("a..b", None),
    ],
)
def test_a_range_has_two_ends_of_which_one_may_be_open(
    call: Call, text: str, expected: list[float | None] | None
) -> None:
    found = call(f"parseRange({js(text)})?.map((end) => (Number.isFinite(end) ? end : null))")
    assert found == expected


ROW = {"score": 0.5, "finish": "complete", "label": True, "grade": None, "moved": 3}


@pytest.mark.parametrize(
    ("params", "changes", "passes"),
    [
        ({}, {}, True),
        ({"score": "0.5..0.6"}, {}, True),
        ({"score": "0.4..0.5"}, {}, False),
        ({"score": "0.9..1"}, {"score": 1}, True),
        ({"score": "0..1"}, {"score": None}, False),
        ({"finish": "error"}, {"finish": "error"}, True),
        ({"label": "false"}, {}, False),
        ({"grade": "none"}, {}, True),
        ({"grade": "any"}, {"grade": 0}, True),
        ({"grade": "2"}, {"grade": 1}, False),
        ({"move": "up"}, {}, True),
        ({"move": "10"}, {}, False),
        ({"move": "-10"}, {"moved": -12}, True),
        ({"move": "none"}, {"moved": 0}, True),
        ({"move": "up"}, {"moved": None}, False),
        ({"move": "nonsense"}, {}, True),
    ],
)
def test_a_row_passes_the_filters_that_it_meets(
    call: Call, params: dict[str, str], changes: dict[str, Any], passes: bool
) -> None:
    assert call(f"matchRow({js(params)})({js({**ROW, **changes})})") is passes


@pytest.mark.parametrize(
    ("typed", "passes"),
    [("", True), ("VISION res", True), ("résolution", True), ("q 7", True), ("vision battery", False)],
)
def test_all_words_that_were_typed_must_be_there(call: Call, typed: str, passes: bool) -> None:
    assert call(f"matchText({js(typed)})('q 7', 'The resolution of Vision', null)") is passes


def test_rows_without_a_value_come_last_in_every_order(call: Call) -> None:
    rows = [{"score": score, "moved": score, "tokens": 1} for score in (None, 0.2, 0.9, None, 0.5)]
    for order in ("score", "-score", "up", "down"):
        found = call(f"{js(rows)}.sort(ROW_ORDERS[{js(order)}]).map((row) => row.score)")
        assert found[3:] == [None, None]
    assert call(f"{js(rows)}.sort(ROW_ORDERS['-score'])[0].score") == 0.2


def test_places_before_follow_the_first_stages_ranks(call: Call) -> None:
    rows = [{"was": was} for was in (12, 3, None, 7)]
    assert call(f"findPlacesBefore({js(rows)})") == [2, 0, 3, 1]


@pytest.mark.parametrize(
    ("moved", "text", "name"), [(3, "▲ 3", "up"), (-2, "▼ 2", "down"), (0, "=", "same"), (None, "", "same")]
)
def test_a_move_is_said_in_a_few_letters(call: Call, moved: int | None, text: str, name: str) -> None:
    assert call(f"[describeMove({{moved: {js(moved)}}}), nameMove({{moved: {js(moved)}}})]") == [text, name]


def test_a_piece_is_unpacked_as_it_was_packed(call: Call) -> None:
    value = ["</script>", "\u0000", "שלום", "👩\u200d👩", 0.5, None]
    script = encode_piece("rows-0", json.dumps(value).encode()).decode()
    packed = script.split('"')[3]
    assert call(f"unpack({js(packed)})") == value


@pytest.mark.parametrize(
    "url", ["https://example.com/a-0.js", "data/ab/../rows-0.js", "//x/data/ab/rows-0.js", "data/ab/rows-0.js?x"]
)
def test_nothing_but_a_piece_of_this_report_is_loaded(call: Call, url: str) -> None:
    assert "not a piece" in call(
        f"(() => {{ try {{ return checkUrl({js(url)}); }} catch (error) {{ return error.message; }} }})()"
    )
    assert call("checkUrl('data/0af3/rows-12.js')") == "data/0af3/rows-12.js"


def test_markup_in_a_text_makes_no_elements(call: Call) -> None:
    text = "<img src=x onerror=alert(1)>\n\n<b>lamp</b>"
    made = f"prose({js(text)}, findWords('lamp'))"
    assert call(f"{made}.querySelectorAll('img, b').length") == 0
    assert call(f"{made}.textContent") == text.replace("\n", "")
    assert call(f"{made}.querySelectorAll('mark').length") == 1

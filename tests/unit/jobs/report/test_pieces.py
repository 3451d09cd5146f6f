"""Pieces: what goes in comes out, and none grows without end."""

import base64
import gzip
import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rank1_batch.jobs.report import pieces as module
from rank1_batch.jobs.report.figures import Shown
from rank1_batch.jobs.report.pieces import Filler, Pieces, encode_piece, shorten
from rank1_batch.jobs.report.queries import ReportedQuery
from tests.unit.jobs.report.test_figures import make_row

SCRIPT = re.compile(rb'rank1\("([a-z]+-\d+)","([A-Za-z0-9+/=]*)"\)\n')


def decode(script: bytes) -> tuple[str, Any]:
    """What the page makes of a piece."""
    found = SCRIPT.fullmatch(script)
    assert found
    return found[1].decode(), json.loads(gzip.decompress(base64.b64decode(found[2])))


@given(st.lists(st.text() | st.none() | st.floats(allow_nan=False, allow_infinity=False)))
def test_whatever_text_goes_into_a_piece_comes_out(values: list[Any]) -> None:
    put: dict[str, bytes] = {}
    filler = Filler("texts", put.__setitem__)
    places = [filler.add(value) for value in values]
    filler.flush()
    found = dict(decode(script) for script in put.values())
    assert [found[f"texts-{place.piece}"][place.at] for place in places] == values


def test_a_full_piece_is_put_and_the_next_one_begins() -> None:
    put: dict[str, bytes] = {}
    filler = Filler("texts", put.__setitem__)
    size = module.PIECE_BYTES // 2
    places = [filler.add("x" * size) for _ in range(5)]
    filler.flush()
    assert [tuple(place) for place in places] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    assert filler.sizes == (3, sum(map(len, put.values())))


def test_the_same_content_gives_the_same_bytes() -> None:
    assert encode_piece("rows-0", b"[1]") == encode_piece("rows-0", b"[1]")
    assert decode(encode_piece("rows-0", b"[1]")) == ("rows-0", [1])


def put_query(*, with_texts: bool) -> dict[str, Any]:
    put: dict[str, bytes] = {}
    query = ReportedQuery(
        "q", "what is it " * 100, 0, [make_row(0, was=4), make_row(1, was=1, error="no")], ["d1", "d0"]
    )
    pieces = Pieces(put.__setitem__, with_texts=with_texts)
    pieces.add(query, 0.123456789)
    pieces.finish([Shown("q", "what", query.rows[0])])
    return dict(decode(script) for script in put.values())


def test_a_query_is_in_the_list_and_leads_to_its_rows_and_texts() -> None:
    found = put_query(with_texts=True)
    assert set(found) == {"queries-0", "rows-0", "texts-0"}
    ((query_id, text, place, rows, errors, trues, up, down, gain, own, texts),) = found["queries-0"]
    assert (query_id, len(text), place, rows, errors, trues) == ("q", 300, 0, 2, 1, 2)
    assert (up, down, gain) == (3, -1, 0.123457)
    assert [row[0] for row in found[f"rows-{own[0]}"][own[1]]] == ["d0", "d1"]
    whole, own_texts = found[f"texts-{texts[0]}"][texts[1]]
    assert len(whole) == 1100
    assert [one[2:4] for one in own_texts] == [["because", None], ["because", "no"]]


def test_without_all_texts_those_of_the_examples_are_there() -> None:
    found = put_query(with_texts=False)
    assert set(found) == {"queries-0", "rows-0", "chosen-0"}
    assert found["queries-0"][0][-1] is None
    assert found["chosen-0"][0][:3] == ["q", "d0", "what"]


def test_numbers_have_six_digits() -> None:
    assert (shorten(0.123456789), shorten(1e-12), shorten(None)) == (0.123457, 1e-12, None)

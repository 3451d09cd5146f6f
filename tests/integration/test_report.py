"""A report in a real browser: from disk and from a web server, with much, with little and with hostile text."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest

from rank1_batch.jobs.report.command import main
from rank1_batch.jobs.report.words import show_controls
from rank1_batch.output.commits import committed_units
from rank1_batch.output.layout import judgments_path
from rank1_batch.storage.store import open_store
from tests.support.browser import Page, run_browser
from tests.support.paths import ROOT
from tests.support.scripted import judge_here
from tests.support.site import HOSTILE, hostile_pairs, serve, write_many

PAIRS, QRELS = str(ROOT / "examples/noveleval/pairs"), str(ROOT / "examples/noveleval/qrels.txt")

READY = "document.documentElement.dataset.shown === location.hash && !document.querySelector('[aria-busy]')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with run_browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    """A tab of a wide screen, whose console has nothing to complain about at the end."""
    browser.problems.clear()
    browser.resize(1440, 900)
    yield browser
    assert browser.problems == []


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NovelEval, judged by the scripted engine; rows that speak of Apple are errors."""
    folder = tmp_path_factory.mktemp("judged")
    judge_here(f"input.path={PAIRS}", f"output.path={folder}", "input.unit_rows=50", "engine.args.fail_on=Apple")
    return folder


@pytest.fixture(scope="module")
def site(judged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "report"
    assert main([f"output.path={judged}", f"report.path={folder}", f"qrels={QRELS}"]) == 0
    return folder


@pytest.fixture(params=["file", "http"])
def address(request: pytest.FixtureRequest, site: Path) -> Iterator[str]:
    """The page of the same report on disk and on a web server."""
    if request.param == "file":
        yield f"file://{site}/index.html"
    else:
        with serve(site) as url:
            yield f"{url}/index.html"


def show(page: Page, address: str) -> str:
    """Open an address; all the text of the page."""
    page.open(address)
    page.wait_for(READY)
    return str(page.evaluate("document.body.innerText"))


def link_of(query_id: str, doc_id: str) -> str:
    return f"#q={quote(query_id, safe='')}&d={quote(doc_id, safe='')}"


def best_row(judged: Path) -> dict[str, object]:
    """A judged row of the first query."""
    rows = pq.read_table(judged / "judgments").to_pylist()
    return dict(next(row for row in rows if row["finish"] == "complete"))


def test_the_first_page_has_the_figures_and_loads_nothing_from_elsewhere(page: Page, address: str) -> None:
    text = show(page, address)
    assert "420 passages for 21 queries" in text
    assert "No model was asked." in text
    assert "Queries gained and lost" in text
    assert "Verdict against grade" in text
    assert page.evaluate("document.querySelectorAll('svg .bar').length") > 40
    loaded = page.evaluate("performance.getEntriesByType('resource').map((one) => one.name)")
    assert all(name.startswith(("data:", address.removesuffix("index.html"))) for name in loaded)


def test_a_link_to_a_row_opens_its_trace_with_the_querys_words_marked(page: Page, address: str, judged: Path) -> None:
    row = best_row(judged)
    text = show(page, address + link_of(str(row["query_id"]), str(row["doc_id"])))
    assert " ".join(str(row["trace"]).split()) in " ".join(text.split())
    assert page.evaluate("document.querySelector('.candidate.open .rank').textContent").isdigit()
    assert page.evaluate("document.querySelectorAll('.reader mark').length") > 0
    assert page.evaluate("document.querySelectorAll('.moves path').length") == 20


def test_search_finds_a_query_by_its_words(page: Page, address: str) -> None:
    show(page, address)
    page.press("/")
    page.wait_for("document.activeElement.type === 'search'")
    page.type("vision PRO")
    page.wait_for("document.querySelector('.count')?.textContent.startsWith('1 of 21')")
    assert "vision pro" in page.evaluate("document.querySelector('.item').textContent").lower()
    assert page.evaluate("document.activeElement.value") == "vision PRO"


def test_rows_are_filtered_and_the_address_keeps_the_filter(page: Page, address: str, judged: Path) -> None:
    errors = sum(error is not None for error in pq.read_table(judged / "judgments")["error"].to_pylist())
    assert f"{errors} of 420 rows" in show(page, address + "#rows&finish=error")
    assert page.evaluate("document.querySelectorAll('.row-item').length") == min(errors, 100)
    text = show(page, address + "#rows&score=0.9..1&sort=-score")
    assert re.search(r"\d+ of 420 rows", text)
    scores = page.evaluate("[...document.querySelectorAll('.meter-number')].map((one) => Number(one.textContent))")
    assert scores == sorted(scores)
    assert min(scores) >= 0.9


def test_the_keyboard_walks_and_goes_back(page: Page, address: str) -> None:
    show(page, address + "#q=12")
    for key, rank in (("j", "1"), ("j", "2"), ("j", "3"), ("k", "2")):
        page.press(key)
        page.wait_for(f"{READY} && document.querySelector('.candidate.open .rank')?.textContent === '{rank}'")
    page.press("Escape")
    page.wait_for(f"{READY} && location.hash === '#q=12' && !document.querySelector('.candidate.open')")
    page.press("Escape")
    page.wait_for(f"{READY} && location.hash === '#queries'")
    page.press("j")
    assert page.evaluate("document.activeElement.classList.contains('item')")


def test_a_narrow_screen_shows_one_thing_at_a_time_and_does_not_scroll_sideways(
    page: Page, site: Path, judged: Path
) -> None:
    page.resize(390, 844, dark=True)
    row = best_row(judged)
    link = link_of(str(row["query_id"]), str(row["doc_id"]))
    for hash_ in ("#", "#queries", "#rows", f"#q={row['query_id']}", link):
        show(page, f"file://{site}/index.html{hash_}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, hash_
    assert page.evaluate("getComputedStyle(document.querySelector('.candidates')).display") == "none"


def test_an_address_that_leads_nowhere_says_so(page: Page, site: Path) -> None:
    assert "has no query" in show(page, f"file://{site}/index.html#q=nothing")
    assert "no candidate" in show(page, f"file://{site}/index.html#q=12&d=nothing")
    assert "420 passages" in show(page, f"file://{site}/index.html#%E0%A4%A")


def test_hostile_text_stays_text(page: Page, tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    pairs = hostile_pairs()
    pq.write_table(pairs, tmp_path / "pairs" / "all.parquet")
    judge_here(f"input.path={tmp_path}/pairs", f"output.path={tmp_path}/judged")
    assert main([f"output.path={tmp_path}/judged", f"report.path={tmp_path}/report"]) == 0
    address = f"file://{tmp_path}/report/index.html"
    show(page, address)
    for row in pairs.to_pylist()[: len(HOSTILE)]:
        show(page, address + link_of(row["query_id"], row["doc_id"]))
        heading = page.evaluate("document.querySelector('.query-head h1').textContent")
        assert heading == show_controls(row["query"])
        passage = page.evaluate("document.querySelector('.passage')?.textContent")
        wanted = None if row["passage"] is None else " ".join(show_controls(row["passage"]).split())
        assert (passage and " ".join(passage.split())) == wanted
        assert page.evaluate("document.querySelectorAll('main script, main img, main b').length") == 0
    assert "15 of 48 rows" in show(page, address + "#rows&find=" + quote("</script><script>", safe=""))
    assert page.evaluate("window.hacked") is None


def test_a_job_that_runs_says_so_and_shows_what_is_there(page: Page, tmp_path: Path) -> None:
    judge_here(f"input.path={PAIRS}", f"output.path={tmp_path}/judged", "input.unit_rows=50")
    store = open_store(f"{tmp_path}/judged")
    for unit_id in sorted(committed_units(store))[::2]:
        Path(store.locate(judgments_path(unit_id))).unlink()
    (tmp_path / "judged" / "_SUCCESS").unlink()
    assert main([f"output.path={tmp_path}/judged", f"report.path={tmp_path}/report", f"qrels={QRELS}"]) == 0
    text = show(page, f"file://{tmp_path}/report/index.html")
    assert "This job is not finished." in text
    assert re.search(r"\d+ of 420 rows were judged", text)
    assert "Limits are checked when the job has finished" in text


def test_a_job_of_errors_alone_has_a_report(page: Page, tmp_path: Path) -> None:
    judge_here(f"input.path={PAIRS}", f"output.path={tmp_path}/judged", "engine.args.fail_on=e")
    assert main([f"output.path={tmp_path}/judged", f"report.path={tmp_path}/report", f"qrels={QRELS}"]) == 0
    text = show(page, f"file://{tmp_path}/report/index.html")
    assert "100.0 %" in text
    assert "These rows have no score." in text
    assert "420 rows" in show(page, f"file://{tmp_path}/report/index.html#rows&finish=error")
    assert "the scripted engine refused this row" in show(page, f"file://{tmp_path}/report/index.html#q=12&d=12-0")


def test_without_grades_and_with_the_examples_texts_alone_it_is_small(
    page: Page, judged: Path, site: Path, tmp_path: Path
) -> None:
    assert main([f"output.path={judged}", f"report.path={tmp_path}/report", "traces=chosen"]) == 0
    size, whole = (sum(file.stat().st_size for file in folder.rglob("*.js")) for folder in (tmp_path, site))
    assert size < whole / 3
    address = f"file://{tmp_path}/report/index.html"
    text = show(page, address)
    assert "grade" not in text
    example = page.evaluate("document.querySelector('.card').getAttribute('href')")
    show(page, address + example)
    assert page.evaluate("document.querySelectorAll('.reader .prose').length") == 2
    assert page.evaluate("document.querySelectorAll('.candidate').length") == 20


def test_a_hundred_thousand_rows_are_listed_filtered_and_opened(page: Page, tmp_path: Path) -> None:
    write_many(tmp_path, 100_000)
    assert main([f"output.path={tmp_path}/judged", f"report.path={tmp_path}/report"]) == 0
    address = f"file://{tmp_path}/report/index.html"
    assert "100,000 passages for 1,000 queries" in show(page, address)
    assert "100,000 rows" in show(page, address + "#rows&sort=score")
    assert "100 of 100,000 rows" in show(page, address + "#rows&find=q777")
    assert "Lamp 99999 is" in show(page, address + "#q=q999&d=d99999")


def test_a_report_in_a_bucket_is_the_one_on_disk(bucket: str, judged: Path, site: Path) -> None:
    assert main([f"output.path={judged}", f"report.path={bucket}/report", f"qrels={QRELS}"]) == 0
    store = open_store(f"{bucket}/report")
    here = {str(file.relative_to(site)): file.read_bytes() for file in site.rglob("*") if file.is_file()}
    assert {path: store.fs.cat_file(store.locate(path)) for path in here} == here
    assert json.loads(here["_rank1/report.json"])["output"] == str(judged)


def test_on_paper_a_row_is_dark_on_white_whatever_the_screen(page: Page, site: Path, judged: Path) -> None:
    page.resize(800, 1100, dark=True)
    row = best_row(judged)
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    page.send("Emulation.setEmulatedMedia", media="print", features=[dark])
    show(page, f"file://{site}/index.html" + link_of(str(row["query_id"]), str(row["doc_id"])))
    colours = page.evaluate("(({color, backgroundColor}) => [color, backgroundColor])(getComputedStyle(document.body))")
    assert colours == ["rgb(29, 34, 39)", "rgb(255, 255, 255)"]
    assert page.evaluate("getComputedStyle(document.querySelector('.top')).display") == "none"
    assert page.evaluate("document.querySelector('.reader').getBoundingClientRect().height") > 300
    page.send("Emulation.setEmulatedMedia", media="")

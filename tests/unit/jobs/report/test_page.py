"""The page's style, program and policy: colours that can be read, and nothing from elsewhere."""

import base64
import hashlib
import itertools
import re

import pytest

from rank1_batch.jobs.report.page import ASSETS, SCRIPTS, build_content_policy, bundle_scripts, strip_module

STYLE = (ASSETS / "report.css").read_text()

LEAST_CONTRAST = 4.5
"""WCAG 2.2 AA, for text of any size."""

TEXT_ON = [
    *itertools.product(("ink", "quiet", "accent", "good", "bad", "closed"), ("paper", "sheet", "soft")),
    ("mark-ink", "mark"),
]

DRAWN = ("bar", "bar-good", "bar-bad", "closed", "accent")


def read_colours(*, dark: bool) -> dict[str, str]:
    """The colours by name; those of the dark page replace some of the light one."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[0]))
    return found | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[1])) if dark else found


def find_luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def find_contrast(a: str, b: str) -> float:
    high, low = sorted((find_luminance(a), find_luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_computed_as_wcag_does() -> None:
    assert find_contrast("#000000", "#ffffff") == pytest.approx(21)
    assert find_contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXT_ON)
def test_text_can_be_read(text: str, ground: str, *, dark: bool) -> None:
    colours = read_colours(dark=dark)
    assert find_contrast(colours[text], colours[ground]) >= LEAST_CONTRAST


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("shape", DRAWN)
def test_shapes_of_charts_can_be_seen(shape: str, *, dark: bool) -> None:
    """WCAG 2.2 AA asks for 3 between a shape that means something and what is beside it."""
    colours = read_colours(dark=dark)
    assert find_contrast(colours[shape], colours["paper"]) >= 3


def test_every_colour_of_the_style_has_a_name_and_every_name_is_used() -> None:
    rules = re.sub(r":root \{.*?\}", "", STYLE, flags=re.DOTALL)
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b(?![^{]*\{)", rules)
    used = set(re.findall(r"var\(--([\w-]+)\)", STYLE)) - {"score"}
    assert used == set(re.findall(r"--([\w-]+):", STYLE))


def test_the_policy_allows_our_own_style_and_program_and_nothing_from_elsewhere() -> None:
    policy = dict(part.split(" ", 1) for part in build_content_policy("a{}", "run()").split("; "))
    assert policy["default-src"] == "'none'"
    digest = base64.b64encode(hashlib.sha256(b"run()").digest()).decode()
    assert policy["script-src"] == f"'self' file: 'sha256-{digest}'"
    assert not re.search(r"http|\*|unsafe", " ".join(policy.values()))


def test_no_file_of_the_page_names_another_place() -> None:
    for path in ASSETS.iterdir():
        addresses = set(re.findall(r"https?://[\w./]+", path.read_text())) - {"http://www.w3.org/2000/svg"}
        assert addresses == set(), path.name


def test_a_module_loses_its_imports_and_exports_alone() -> None:
    text = (
        'import {\n  a,\n} from "./a.js";\nexport const b = 1;\nexport async function c() {}\nconst d = "import x;";\n'
    )
    assert strip_module(text) == 'const b = 1;\nasync function c() {}\nconst d = "import x;";\n'


def test_modules_import_what_stands_before_them_and_define_no_name_twice() -> None:
    """Then they are one script as they are modules."""
    defined: dict[str, str] = {}
    for name in SCRIPTS:
        text = (ASSETS / name).read_text()
        for names, source in re.findall(r'^import \{([^}]*)\} from "\./([\w.]+)";', text, re.MULTILINE):
            imported = {each.strip() for each in names.split(",") if each.strip()}
            assert imported <= {each for each, place in defined.items() if place == source}, name
            assert all(len(re.findall(rf"\b{each}\b", text)) > 1 for each in imported), name
        for each in re.findall(r"^(?:export )?(?:async )?(?:function|const|let|class) (\w+)", text, re.MULTILINE):
            assert each not in defined, f"{each} is in {defined.get(each)} and {name}"
            defined[each] = name
    assert set(SCRIPTS) == {path.name for path in ASSETS.glob("*.js")}


def test_the_program_is_one_script_without_modules_and_cannot_end_its_element() -> None:
    program = bundle_scripts()
    assert not re.search(r"^(import|export)\b", program, re.MULTILINE)
    assert "</script" not in program.lower()
    assert "innerHTML" not in program

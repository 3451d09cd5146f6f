"""Makes the README's picture of a report, docs/report.png and docs/report-dark.png, out of a report of the demo.

    make demo
    PYTHONPATH=. .venv/bin/python tools/report_picture.py demo_output_report [--out DIR]

It photographs one row of one query in headless Chromium. The letters are those of this machine: the pictures in the
repository were made with Debian's fonts-inter and fonts-noto-core.
"""

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image

from tests.support.browser import Page, run_browser

DOCS = Path(__file__).parent.parent / "docs"

QUERY, DOCUMENT = "1", "1-11"
"""What is the screen resolution of vision pro? The passage that the README quotes first."""

WIDTH, HEIGHT, FACTOR = 1240, 760, 1.5

COLOURS = 256
"""A palette keeps each picture under 300 kB."""


def main() -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser(description="Make the README's picture of a report.")
    parser.add_argument("report", type=Path, help="folder that jobs.report wrote")
    parser.add_argument("--out", type=Path, default=DOCS, help="default: %(default)s")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as profile, run_browser(Path(profile)) as page:
        for name, dark in (("report", False), ("report-dark", True)):
            photograph(page, arguments.report.absolute(), arguments.out / f"{name}.png", dark=dark)


def photograph(page: Page, report: Path, target: Path, *, dark: bool) -> None:
    """Write one picture."""
    page.resize(WIDTH, HEIGHT, dark=dark, factor=FACTOR)
    page.send("Emulation.setScrollbarsHidden", hidden=True)
    page.open(f"file://{report}/index.html#q={QUERY}&d={DOCUMENT}")
    page.wait_for("document.querySelector('.reader .prose')")
    page.evaluate("scrollTo(0, 0)")
    page.photograph(target)
    image = Image.open(io.BytesIO(target.read_bytes())).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    main()

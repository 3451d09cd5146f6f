"""index.html: the first page, with the style and the program of all pages inside. Knows nothing about stores."""

import base64
import hashlib
import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from rank1_batch.jobs.report.overview import Contents, build_config, describe_contents
from rank1_batch.jobs.report.words import cut_text, format_seconds, format_share, show_controls

PAGE_PATH = "index.html"

ASSETS = Path(__file__).parent / "assets"

SCRIPTS = ("text.js", "hash.js", "data.js", "filters.js", "dom.js", "moves.js", "lists.js", "query.js", "main.js")
"""The program's modules, each after those that it imports."""


def render_page(contents: Contents) -> bytes:
    """The page. The same contents give the same bytes, but for the time at which an unfinished job was looked at."""
    style, script = _read_asset("report.css"), bundle_scripts()
    text = (
        _environment()
        .get_template("page.html")
        .render(
            style=Markup(style),  # noqa: S704 # our own
            script=Markup(script),  # noqa: S704 # our own
            policy=build_content_policy(style, script),
            config=build_config(contents),
            **describe_contents(contents),
        )
    )
    return text.encode()


def build_content_policy(style: str, script: str) -> str:
    """What the browser may load: our own style and program, by their hashes, and scripts beside the page.

    `file:` is the page's own place when it is opened from disk; a page of a server may not load from there.
    """
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src 'self' file: '{_hash(script)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types rank1-data",
        ]
    )


@cache
def bundle_scripts() -> str:
    """The modules as one classic script, since a page from disk may not load modules."""
    parts = [strip_module(_read_asset(name)) for name in SCRIPTS]
    return '(() => {\n"use strict";\n' + "\n".join(parts) + "\n})();\n"


def strip_module(text: str) -> str:
    """A module without its imports and exports: its names then belong to whatever it stands in."""
    text = re.sub(r"^import [^;]*;\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^export (?=(?:async )?(?:function|const|let|class)\b)", "", text, flags=re.MULTILINE)


@cache
def _read_asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": lambda value: f"{value:,}",
        "percent": format_share,
        "seconds": format_seconds,
        "shown": show_controls,
        "cut": cut_text,
        "part": lambda text: quote(text, safe=""),
        "json": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
    }
    return environment

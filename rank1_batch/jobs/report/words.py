"""Numbers and texts as people read them."""

import re


def format_share(part: float, whole: float) -> str:
    """A share in percent."""
    return "-" if not whole else f"{100 * part / whole:.1f} %"


def format_seconds(seconds: float) -> str:
    """A duration as people say it: 2 h 14 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def cut_text(text: str, letters: int) -> str:
    """The start of a text in one line."""
    line = " ".join(text.split())
    return line if len(line) <= letters else f"{line[: letters - 1]}…"


def show_controls(text: str | None) -> str:
    """Text in which letters that cannot be shown have a picture, so that nothing is hidden (NUL becomes U+2400)."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", _picture, text or "")


def _picture(match: "re.Match[str]") -> str:
    number = ord(match[0])
    return "\N{SYMBOL FOR DELETE}" if number == 0x7F else chr(0x2400 + number)  # noqa: PLR2004 # DEL

"""The geometry of the first page's charts, as the template draws them in SVG. Knows nothing about colours or pages."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

from rank1_batch.jobs.report.figures import find_quantile

CHART_WIDTH, CHART_HEIGHT = 400, 170

MARGIN, HEADROOM, FOOTROOM = 8, 22, 26

LEAST_BAR = 1.5
"""Units of height of a bar that counts anything, so that it can be seen."""

GAINS_SHOWN = 200
"""Bars of queries gained and lost; of more queries, every n-th is drawn."""


class Bar(NamedTuple):
    """A bar of a chart. `tone` names its colour, `title` is what a pointer is told, `link` a filter of the rows."""

    x: float
    y: float
    width: float
    height: float
    title: str
    tone: str = "plain"
    link: str = ""


class Tick(NamedTuple):
    """A label below a chart, and where it stands."""

    x: float
    text: str
    anchor: str = "middle"


class Marker(NamedTuple):
    """A vertical line with a word."""

    x: float
    text: str


class Chart(NamedTuple):
    """A chart of bars. `summary` says in a sentence what it shows, for those who do not see it."""

    title: str
    summary: str
    bars: list[Bar]
    ticks: list[Tick]
    markers: list[Marker]
    width: int = CHART_WIDTH
    height: int = CHART_HEIGHT
    base: float = CHART_HEIGHT - FOOTROOM


class Scale(NamedTuple):
    """From values to places on the x axis."""

    low: float
    high: float
    width: int = CHART_WIDTH

    def __call__(self, value: float) -> float:
        """The place of a value."""
        inner = self.width - MARGIN - MARGIN
        return round(MARGIN + inner * (value - self.low) / (self.high - self.low), 2)


class Bin(NamedTuple):
    """A range of values with what was counted in it."""

    low: float
    high: float
    rows: int
    title: str
    tone: str = "plain"
    link: str = ""


def draw_histogram(
    title: str,
    summary: str,
    bins: Sequence[Bin],
    ticks: Mapping[float, str],
    markers: Mapping[float, str] | None = None,
) -> Chart:
    """Bars side by side, the highest as high as the chart."""
    scale = Scale(bins[0].low, bins[-1].high)
    most = max(one.rows for one in bins) or 1
    base, inner = CHART_HEIGHT - FOOTROOM, CHART_HEIGHT - FOOTROOM - HEADROOM
    bars = []
    for one in bins:
        x, end = scale(one.low), scale(one.high)
        height = round(max(inner * one.rows / most, LEAST_BAR if one.rows else 0), 2)
        gap = min(2.0, (end - x) / 5)
        bars.append(Bar(x, round(base - height, 2), round(end - x - gap, 2), height, one.title, one.tone, one.link))
    return Chart(title, summary, bars, _place_ticks(scale, ticks), [
        Marker(scale(value), text) for value, text in (markers or {}).items()
    ])  # fmt: skip


def _place_ticks(scale: Scale, ticks: Mapping[float, str]) -> list[Tick]:
    """Labels; those at the ends lie within the chart."""
    anchors = {scale.low: "start", scale.high: "end"}
    return [Tick(scale(value), text, anchors.get(value, "middle")) for value, text in ticks.items()]


def bin_counts(
    counts: Counter[int], low: int, high: int, step: int, describe: Callable[[int, int, int], Bin]
) -> list[Bin]:
    """What was counted from `low` to `high` (excluded) in ranges of `step`. What lies beyond counts in the end ones."""
    number = -(-(high - low) // step)
    totals = [0] * number
    for value, count in counts.items():
        totals[min(max((value - low) // step, 0), number - 1)] += count
    return [describe(low + place * step, low + (place + 1) * step, total) for place, total in enumerate(totals)]


def draw_gains(gains: Mapping[str, float], measure: str) -> Chart | None:
    """A bar for each query, from the most gained to the most lost. None without any difference."""
    ordered = sorted(gains.items(), key=lambda item: (-item[1], item[0]))
    drawn = ordered[:: max(1, -(-len(ordered) // GAINS_SHOWN))]
    most = max((abs(value) for _, value in drawn), default=0.0)
    if not most:
        return None
    middle, half = HEADROOM + (CHART_HEIGHT - HEADROOM) / 2 - 8, (CHART_HEIGHT - HEADROOM) / 2 - 12
    scale = Scale(0, len(drawn))
    bars = []
    for place, (query_id, value) in enumerate(drawn):
        height = round(half * abs(value) / most, 2)
        x, end = scale(place), scale(place + 1)
        y = middle - height if value > 0 else middle
        tone = "up" if value > 0 else "down"
        width = round((end - x) * 0.84, 2)
        bars.append(
            Bar(
                x,
                round(y, 2),
                width,
                max(height, 0.75),
                f"{query_id}: {value:+.3f}",
                tone,
                f"q={quote(query_id, safe='')}",
            )
        )
    gained, lost = sum(value > 0 for value in gains.values()), sum(value < 0 for value in gains.values())
    summary = f"{measure}: {gained} gained and {lost} lost, of {len(gains)} queries."
    return Chart("Queries gained and lost", summary, bars, [], [], base=middle)


class Whisker(NamedTuple):
    """A value between the ends of its interval, on one line. Places are percent of the line."""

    low: float
    value: float
    high: float


def draw_whisker(value: float, low: float, high: float, most: float) -> Whisker:
    """A difference on a line from -most to most."""
    places = [50 + 48 * max(-1.0, min(1.0, one / most)) for one in (low, value, high)]
    return Whisker(*(round(one, 2) for one in places))


def describe_middle(counts: Counter[int]) -> dict[str, int]:
    """The median and the 95th percentile, by their names; empty if nothing was counted."""
    middle, high = find_quantile(counts, 0.5), find_quantile(counts, 0.95)
    return {} if middle is None or high is None else {"median": middle, "p95": high}

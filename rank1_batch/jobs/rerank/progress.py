"""What a person sees while a job runs: a bar and counts on a terminal, elsewhere plain lines."""

import datetime as dt
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rank1_batch.output.counts import Counts, add_counts

PROGRESS_WINDOW_S = 60.0

LOADING = "loading the model …"


class _Moment(NamedTuple):
    time_s: float
    rows: int
    tokens: int


class JobProgress:
    """Counts what was judged, and shows it. `before` is what earlier runs of the job judged.

    `counts` and `units` are those of the whole job. `begun` is whether a replica has loaded its model.
    """

    def __init__(self, console: Console, total_rows: int, total_units: int, before: Counts, units_before: int) -> None:
        self._console = console
        self._total_rows, self._total_units = total_rows, total_units
        self.units = units_before
        self._recent = [_Moment(math.inf, before.rows, before.trace_tokens)]
        self._from_start = True
        self.counts = before
        self.begun = False

    def add(self, counts: Counts, began: float) -> None:
        """One more unit was judged, begun at that time of `time.monotonic()`: count it."""
        now = time.monotonic()
        if self._from_start:  # the first that is judged need not be the first that was begun
            self._recent[0] = self._recent[0]._replace(time_s=min(began, self._recent[0].time_s))
        self.counts = add_counts(self.counts, counts)
        self.units += 1
        self.begun = True
        self._recent.append(_Moment(now, self.counts.rows, self.counts.trace_tokens))
        while self._recent[1].time_s < now - PROGRESS_WINDOW_S:
            self._recent.pop(0)
            self._from_start = False

    def tokens_per_s(self) -> float:
        """Tokens generated a second, over the last minute."""
        if len(self._recent) == 1:
            return 0.0
        first, last = self._recent[0], self._recent[-1]
        return (last.tokens - first.tokens) / max(last.time_s - first.time_s, 1e-9)

    def remaining_s(self) -> float | None:
        """Seconds to the end at the rate of the last minute; None where nothing is known yet."""
        if self._recent[-1].rows == self._recent[0].rows:
            return None
        first, last = self._recent[0], self._recent[-1]
        return (self._total_rows - last.rows) * (last.time_s - first.time_s) / (last.rows - first.rows)

    def line(self) -> str:
        """The state in one line."""
        counts, left = self.counts, self.remaining_s()
        eta = "?" if left is None else str(dt.timedelta(seconds=round(left)))
        return (
            f"rows {counts.rows}/{self._total_rows}  units {self.units}/{self._total_units}  "
            f"{self.tokens_per_s():.0f} tok/s  ETA {eta}  closed {counts.closed}  errors {counts.errors}"
        )

    @contextmanager
    def show(self) -> Iterator["JobProgress"]:
        """Show the state while the block runs: on a terminal all the time, elsewhere at the start and at the end."""
        if not self._console.is_terminal:
            self.say()
            yield self
            self._print(self.line())
            return
        with Live(get_renderable=self._picture, console=self._console):
            yield self

    def say(self, waiting: str = "") -> None:
        """Print the state in one line, and what the job waits for. On a terminal the state is there already."""
        if not self._console.is_terminal:
            self._print(f"{self._state()}  {waiting}".rstrip())

    def _state(self) -> str:
        return self.line() if self.begun else LOADING

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _picture(self) -> RenderableType:
        """The bar, and the state below it. The state may take two lines on a narrow terminal."""
        bar = Table.grid(expand=True)  # it ends the line, which a bar alone does not
        bar.add_row(ProgressBar(self._total_rows, self.counts.rows))
        # Not a row of the table, which would fill its line. The ^C that a terminal shows at Ctrl-C would then begin a
        # new line, of which the next redraw knows nothing: a second bar would stay on the screen.
        return Group(bar, Text(self._state()))

"""What jobs print for people: lines of a name and a value."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_lines(lines: Iterable[tuple[str, str]], console: Console) -> None:
    """Names in dim letters, values beside them, all values in one column."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines:
        table.add_row(Text(name, style="dim"), Text(value))
    if table.row_count:
        console.print(table)

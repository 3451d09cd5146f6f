import io

from rich.console import Console

from rank1_batch.cli.console import print_lines


def printed(*lines: tuple[str, str]) -> str:
    file = io.StringIO()
    print_lines(lines, Console(file=file, width=40))
    return file.getvalue()


def test_values_stand_in_one_column() -> None:
    assert [line.rstrip() for line in printed(("rows", "3"), ("reasoning", "2")).splitlines()] == [
        "rows       3",
        "reasoning  2",
    ]


def test_values_are_printed_as_they_are() -> None:
    assert "[red]x[/red]" in printed(("a", "[red]x[/red]"))


def test_no_lines_print_nothing() -> None:
    assert printed() == ""

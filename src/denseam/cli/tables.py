"""Tables that fit the terminal: whole columns are left out of them, words are never cut.

A table that is too wide gives up its lines first, then the columns that matter least, and says
which. Columns of which all matter, one for each of many models say, go on in a second table below.
Output that goes to no terminal has 80 columns, or what ``COLUMNS`` says.
"""

from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from denseam.cli.console import broken

_LINE, _GAP = 3, 2  # between two columns: " | ", and two blanks


class FittedTable:
    """A table that chooses its columns when it is printed.

    Args:
        title: a line above it, or None.
        columns: heads of all columns.
        rows: cells, one for each column; text of several lines is as wide as its longest.
        left: positions of the columns that are set to the left; others are set to the right.
        drop: positions of the columns that may go, those that go first in front.
        repeated: where no column may go: this many are repeated in front of every table.
    """

    def __init__(
        self,
        title: str | None,
        columns: Sequence[str | Text],
        rows: Iterable[Sequence[str | Text]],
        *,
        left: Sequence[int] = (),
        drop: Sequence[int] = (),
        repeated: int = 0,
    ) -> None:
        self.title = title
        self.columns = [_text(column) for column in columns]
        self.rows = [[_text(cell) for cell in row] for row in rows]
        self.left, self.drop, self.repeated = left, drop, repeated
        self.sections: list[int] = []

    def add_section(self, rows: Iterable[Sequence[str | Text]]) -> None:
        """Add rows below a line."""
        self.sections.append(len(self.rows))
        self.rows += [[_text(cell) for cell in row] for row in rows]

    def fits(self, console: Console) -> bool:
        """Return whether a console has room for all columns."""
        return self.width(range(len(self.columns)), _GAP) <= console.width

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the title, as much of the table as fits, and what was left out."""
        if self.title:
            yield broken(Text(self.title, "italic"), options.max_width)
        kept, dropped = list(range(len(self.columns))), list[int]()
        lines = self.width(kept, _LINE) + 1 <= options.max_width
        gap, room = (_LINE, options.max_width - 1) if lines else (_GAP, options.max_width)
        for i in self.drop:
            if self.width(kept, gap) <= room:
                break
            kept.remove(i)
            dropped.append(i)
        for group in self._groups(kept, gap, room):
            yield self._table(group, lines=lines)
        if dropped:
            names = ", ".join(self.columns[i].plain for i in sorted(dropped))
            note = f"left out for want of room: {names} (a wider terminal or --json has all)"
            yield broken(Text(note, "dim"), options.max_width)

    def width(self, columns: Sequence[int], gap: int) -> int:
        """Return how wide some of the columns are, without lines at the edges."""
        widths = [max(map(_width, self._cells(i))) for i in columns]
        return sum(widths) + gap * len(widths) - (0 if gap == _LINE else gap)

    def _cells(self, i: int) -> list[Text]:
        return [self.columns[i], *(row[i] for row in self.rows)]

    def _groups(self, columns: list[int], gap: int, room: int) -> list[list[int]]:
        """Return the columns of each table; the first so many are in all of them."""
        front = columns[: self.repeated]
        groups = [front]
        for i in columns[self.repeated :]:
            fits = self.width([*groups[-1], i], gap) <= room
            if not front or fits or groups[-1] == front:
                groups[-1] = [*groups[-1], i]
            else:
                groups.append([*front, i])
        return groups

    def _table(self, columns: Sequence[int], *, lines: bool) -> Table:
        result = Table(
            box=box.HEAVY_HEAD if lines else box.SIMPLE_HEAD, show_edge=lines, pad_edge=lines,
            padding=(0, 1) if lines else (0, 1, 0, 0),
        )  # fmt: skip
        for i in columns:
            width = max(map(_width, self._cells(i)))
            result.add_column(
                self.columns[i], justify="left" if i in self.left else "right", no_wrap=True,
                min_width=width,
            )  # fmt: skip
        for r, row in enumerate(self.rows):
            if r in self.sections:
                result.add_section()
            result.add_row(*(row[i] for i in columns))
        return result


def _text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)


def _width(cell: Text) -> int:
    return max(map(cell_len, cell.plain.split("\n")))

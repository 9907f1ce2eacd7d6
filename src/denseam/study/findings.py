"""Results of a stage: numbers as rows, tables of rows, figures, and files."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from denseam.errors import InputError

Unit = Literal["%", "", "visible units", "s"]  # "%": values are fractions of 1
Line = tuple[str, tuple[str | Mapping[str, str] | None, ...]]  # of a table: head, cells


@dataclass(frozen=True)
class Row:
    """One number, and how to get it again."""

    id: str  # "transfer/n2/n30"
    what: str  # description in words
    value: float
    command: str
    unit: Unit = ""
    low: float | None = None  # of its 95 % interval, or as ``what`` says
    high: float | None = None
    count: int | None = None  # images it is measured on


@dataclass(frozen=True)
class Table:
    """Rows laid out for people: ``cells`` are ids of rows, None, or a text in {"text": ...}."""

    id: str
    title: str
    caption: str
    columns: tuple[str, ...]  # the first one heads the heads
    lines: tuple[Line, ...]

    def __post_init__(self) -> None:
        for head, cells in self.lines:
            if len(cells) != len(self.columns) - 1:
                raise InputError(
                    f"table {self.id}, {head}: {len(cells)} cells, wanted {len(self.columns) - 1}"
                )


@dataclass(frozen=True)
class Figure:
    """A picture in the stage's folder."""

    id: str  # "fig5"
    file: str  # "fig5.png"
    title: str
    caption: str


@dataclass(frozen=True)
class Findings:
    """Everything that a stage hands to later stages and to the report."""

    rows: tuple[Row, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    other_files: tuple[str, ...] = ()  # in the stage's folder, besides those of figures

    @property
    def files(self) -> tuple[str, ...]:
        """All files of the stage."""
        return (*(figure.file for figure in self.figures), *self.other_files)

    def without_commands(self) -> "Findings":
        """Return the same findings without the commands that repeat them."""
        return replace(self, rows=tuple(replace(row, command="") for row in self.rows))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; ``from_json`` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Findings":
        """Return the findings that ``to_json`` wrote.

        Raises:
            KeyError, TypeError: when something is missing.
        """
        return cls(
            tuple(Row(**row) for row in fields["rows"]),
            tuple(
                Table(
                    **{
                        **table,
                        "columns": tuple(table["columns"]),
                        "lines": tuple((head, tuple(cells)) for head, cells in table["lines"]),
                    }
                )
                for table in fields["tables"]
            ),
            tuple(Figure(**figure) for figure in fields["figures"]),
            tuple(fields["other_files"]),
        )

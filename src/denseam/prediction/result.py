"""Predictions as rows that show themselves."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple, overload

import torch
from torch import Tensor

from denseam.errors import InputError
from denseam.showing import Drawn, Shown, Tabular

_NAMED = 3  # rows in a line


class Memory(NamedTuple):
    """A memory that decided: its position in the model, share of the energy, and class."""

    position: int
    share: float
    votes_for: str


@dataclass(frozen=True)
class Prediction:
    """The label of one picture or row.

    Attributes:
        name: of the picture: its file, and its page where the file has several.
        label: the class, 0 .. C - 1; None where there is none.
        class_name: its name.
        confidence: Z = softmax(beta_sm Y) of the label, in [1/C, 1].
        runner_up: the name of the second class.
        memories: those with the largest shares of the energy of the label; none for networks
            without such.
        error: why there is no label: the picture could not be read, or no memory is active.
        looked_at: whether the picture could be read.
    """

    name: str
    label: int | None = None
    class_name: str | None = None
    confidence: float | None = None
    runner_up: str | None = None
    memories: tuple[Memory, ...] = ()
    error: str | None = None
    looked_at: bool = True

    @property
    def reason(self) -> str:
        """Return the error without the name of the file, which errors begin with."""
        error = self.error or ""
        return error.removeprefix(self.name).lstrip(": ")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        fields = {**asdict(self), "memories": [memory._asdict() for memory in self.memories]}
        del fields["looked_at"]
        return fields

    def __str__(self) -> str:
        if self.label is None:
            return (
                f"{self.error}" if self.name in (self.error or "") else f"{self.name}: {self.error}"
            )
        return f"{self.name}: {self.class_name} ({100 * (self.confidence or 0):.1f} %)"


class Predictions(Shown, Drawn, Tabular, Sequence[Prediction]):
    """Labels of pictures or rows, in their order; those that could not be read have an error.

    Attributes:
        model: the name of the model.
        rows: one ``Prediction`` for each.
        inputs: (M, ...) what the model looked at, of the rows without an error of reading.
        beta_sm: of the confidences.
        calibrated: whether beta_sm was measured for this model; otherwise it is the paper's 3.2.
    """

    _figure: ClassVar[str] = "grid"

    def __init__(
        self,
        model: str,
        rows: Sequence[Prediction],
        inputs: Tensor,
        *,
        beta_sm: float,
        calibrated: bool,
    ) -> None:
        self.model, self.rows, self.inputs = model, tuple(rows), inputs
        self.beta_sm, self.calibrated = beta_sm, calibrated

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Prediction]: ...
    def __getitem__(self, index: int | slice) -> Prediction | Sequence[Prediction]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.rows)

    @property
    def labels(self) -> Tensor:
        """Return the labels, (M,) int64; -1 where there is none."""
        return torch.tensor([-1 if row.label is None else row.label for row in self.rows])

    @property
    def errors(self) -> tuple[Prediction, ...]:
        """Return the rows without a label."""
        return tuple(row for row in self.rows if row.label is None)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "model": self.model,
            "beta_sm": self.beta_sm,
            "calibrated": self.calibrated,
            "predictions": [row.to_json() for row in self.rows],
        }

    def _columns(self) -> dict[str, list[Any]]:
        rows = [row.to_json() for row in self.rows]
        columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
        positions = [[memory.position for memory in row.memories] for row in self.rows]
        return {**columns, "memories": positions}

    def _summary(self) -> str:
        if len(self.rows) == 1:
            return str(self.rows[0])
        failed = f", {len(self.errors)} without a label" if self.errors else ""
        shown = "; ".join(map(str, self.rows[:_NAMED])) + ("; ..." if len(self) > _NAMED else "")
        return f"{len(self.rows)} by {self.model}{failed}: {shown}"

    def _thumbnails(self) -> Tensor | None:
        return self.inputs if self.inputs.ndim > 2 else None

    def _sheet(self, count: int) -> tuple[Tensor, tuple[str, ...], None]:
        if self.inputs.ndim < 3:  # rows of a table are no pictures
            raise InputError("no picture was read: there is nothing to draw")
        captions = tuple(
            "?" if row.label is None else f"{row.class_name} {100 * (row.confidence or 0):.0f} %"
            for row in self.rows
            if row.looked_at
        )
        return self.inputs[:count], captions[:count], None

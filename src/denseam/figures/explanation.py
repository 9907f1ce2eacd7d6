"""Why an image has its label: the memories that make the energy of two classes."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from denseam.data.arrays import square
from denseam.errors import InputError
from denseam.explanation import ClassVotes, Explanation
from denseam.figures import canvas
from denseam.figures.mosaic import folded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ACROSS = 10  # memories side by side, at most
_INCHES = 0.52  # of a memory and the gap behind it
# Between memories, above and below a row of them, and to their left: in places of an image, which
# are squares.
_GAP, _HEAD, _FOOT, _LEFT = 0.1, 0.42, 0.72, 2.3
_HEADLINE = 9.6  # memories that are as wide as a headline
_SMALL, _LINE = 6.0, 7.4  # points: of the letters under a memory, and from line to line
_LETTERS = 9  # of the classes that a memory votes for, before an ellipsis


@dataclass(frozen=True, eq=False)
class ExplainedImage:
    """An explanation and what it takes to draw it.

    Raises:
        InputError: when shape, class names or label do not fit the explanation.
    """

    name: str  # of the model, like "n = 30"
    found: Explanation  # the result of ``DenseAM.explain``
    shape: tuple[int, ...]  # (H, W) or (3, H, W) of the image; (1, N) of a row of numbers
    class_names: tuple[str, ...]  # of the C classes
    right: int | None = None  # the right label, if known

    def __post_init__(self) -> None:
        n_classes, n_visible = len(self.found.log_energies), len(self.found.visible)
        if len(self.class_names) != n_classes:
            raise InputError(f"{len(self.class_names)} class_names for {n_classes} classes")
        if math.prod(self.shape) != n_visible:
            raise InputError(f"shape {self.shape} does not fit {n_visible} pixels")
        if self.right is not None and not 0 <= self.right < n_classes:
            raise InputError(f"right = {self.right}: wanted 0 .. {n_classes - 1}, or None")

    @property
    def classes(self) -> tuple[ClassVotes, ...]:
        """The one or two classes that are drawn, one below the other."""
        both = (self.found.predicted, self.found.other)
        return tuple(votes for votes in both if votes is not None)

    @property
    def columns(self) -> int:
        """Memories side by side."""
        most = max(len(votes.positions) for votes in self.classes)
        return min(max(most, 1), _ACROSS)

    def rows(self, votes: ClassVotes) -> int:
        """Rows of memories of a class; one where there is nothing to show."""
        return max(1, math.ceil(len(votes.positions) / self.columns))


def record_of(
    explanation: Explanation,
    *,
    shape: tuple[int, ...] | None = None,
    class_names: Sequence[str] | None = None,
    name: str | None = None,
    right: int | None = None,
) -> ExplainedImage:
    """Return the record of an explanation.

    Args:
        explanation: the result of ``DenseAM.explain``.
        shape: (H, W) or (3, H, W) of the image; a square by default, where there is one.
        class_names: C names; numbers by default.
        name: of the model; its power by default.
        right: the right label, if known.
    """
    N, C = len(explanation.visible), len(explanation.log_energies)
    return ExplainedImage(
        name or f"n = {explanation.power:g}", explanation, shape or square(N) or (1, N),
        tuple(class_names or map(str, range(C))), right,
    )  # fmt: skip


def plot(record: Any, ax: "Axes") -> None:
    """Draw the image in gray, and to its right a block of memories for each of the two classes.

    Memories are blue at -1, white at 0 and red at +1; of a picture in colour they are in colour.
    Numbers that are no pixels are laid out line by line. Under each memory stand its share of the
    energy, what it contributes to the margin, and the classes that it votes for, the firmest first.

    Args:
        record: an ``ExplainedImage``, or an explanation.
        ax: where to; its ticks, spines and limits become those of the picture.
    """
    record = canvas.as_record(record, ExplainedImage, record_of)
    side = max(_shaped(record, record.found.visible).shape[-2:])
    left, top = _LEFT * side, 0.0
    for votes in record.classes:
        text = canvas.literal(headline(record.found, votes, record.class_names))
        ax.text(left, top + (_HEAD - 0.08) * side, text, fontsize=7, va="bottom")
        for m, pixels in enumerate(votes.visible):
            x = left + (m % record.columns) * (1 + _GAP) * side
            y = top + (_HEAD + (m // record.columns) * (1 + _FOOT)) * side
            _picture(ax, _shaped(record, pixels), x, y, "RdBu_r")
            _lines(ax, _caption(record, votes, m), x + side / 2, y + side)
            if m % record.columns == 0:
                _lines(ax, ("share", "margin", "votes"), x - 0.12 * side, y + side, left=True)
        top += (_HEAD + record.rows(votes) * (1 + _FOOT)) * side
    _picture(ax, _shaped(record, record.found.visible), 0, _HEAD * side, "gray")
    _lines(ax, _below(record), side / 2, (1 + _HEAD) * side)
    width, _ = _extent(record)
    ax.set_xlim(0, width * side)
    ax.set_ylim(top, 0)
    ax.set_aspect("equal")
    ax.set_axis_off()


def layout(record: ExplainedImage) -> dict[str, Any]:
    """Return the size of the figure, inches."""
    width, height = (_INCHES / (1 + _GAP) * extent + 0.1 for extent in _extent(record))
    return {"size": (width, height)}


save = canvas.saver(plot, layout, ExplainedImage, record_of)


def _extent(record: ExplainedImage) -> tuple[float, float]:
    """Return the width and height of the picture, in places of an image."""
    rows = [record.rows(votes) for votes in record.classes]
    height = sum(_HEAD + count * (1 + _FOOT) for count in rows)
    return _LEFT + max(record.columns, _HEADLINE) * (1 + _GAP), height


def headline(explanation: Explanation, votes: ClassVotes, class_names: Sequence[str]) -> str:
    """Return a line on one of the two classes: how many memories carry it, how far it is ahead."""
    text = class_names[votes.label]
    if votes is explanation.predicted and explanation.active:
        text += " (predicted)"
    if not votes.n_active:
        return f"{text}: no memory is active"
    carry = "memory carries" if votes.n_half == 1 else "memories carry"
    text += f": {votes.n_half} {carry} half of the energy"
    if votes.margin and votes.rival is not None:
        lead, over = ("lead", "over") if votes.margin > 0 else ("lag", "behind")
        by, rival = _percent(abs(votes.margin)), class_names[votes.rival]
        decide = "decides" if votes.n_deciding == 1 else "decide"
        text += f"; {votes.n_deciding} {decide} the {lead} of {by} % {over} {rival}"
    return text


def _caption(record: ExplainedImage, votes: ClassVotes, m: int) -> tuple[str, ...]:
    names = " ".join(record.class_names[c] for c in votes.votes_for[m]) or "none"
    shown = textwrap.shorten(names, _LETTERS + 2, placeholder=" \N{HORIZONTAL ELLIPSIS}")
    share, contribution = float(votes.shares[m]), float(votes.contributions[m])
    return f"{_percent(share)} %", _signed(contribution), shown


def _below(record: ExplainedImage) -> tuple[str, ...]:
    """Return the lines under the image."""
    explanation, names = record.found, record.class_names
    right = () if record.right is None else (f"right: {names[record.right]}",)
    label = names[explanation.predicted.label] if explanation.active else "nothing"
    return (record.name, f"predicted: {label}", *right)


def _percent(fraction: float) -> str:
    """Write a fraction in %, with three digits at most."""
    percent = 100 * fraction
    return f"{percent:.0f}" if percent >= 99.5 else f"{percent:.{1 if percent >= 10 else 2}f}"


def _signed(fraction: float) -> str:
    sign = "\N{MINUS SIGN}" if fraction < 0 else "+"
    digits = _percent(abs(fraction))
    return f"{sign if float(digits) else ''}{digits} %"


def _shaped(record: ExplainedImage, numbers: Tensor) -> Tensor:
    """Return numbers (N,) as a picture; what a row leaves empty is NaN."""
    return folded(numbers.float()[None], record.shape, empty=torch.nan)[0]


def _picture(ax: "Axes", pixels: Tensor, x: float, y: float, colours: str) -> None:
    """Draw an image (H, W) amid its square place, whose upper left corner is (x, y)."""
    H, W = pixels.shape[-2:]
    side = max(H, W)
    x, y = x + (side - W) / 2, y + (side - H) / 2
    canvas.show(ax, pixels.float(), colours, extent=(x, x + W, y + H, y))


def _lines(ax: "Axes", lines: tuple[str, ...], x: float, y: float, *, left: bool = False) -> None:
    """Write lines of small letters below (x, y), or to the left of it."""
    for number, line in enumerate(lines):
        ax.annotate(
            canvas.literal(line), (x, y), (0, -1.5 - number * _LINE), textcoords="offset points",
            ha="right" if left else "center", va="top", fontsize=_SMALL,
            color="0.45" if left else "black", annotation_clip=False,
        )  # fmt: skip

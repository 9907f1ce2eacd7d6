"""Figs. 5 and 7: how images made against one model fare with others, as a table of colours."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from denseam.analysis import TransferTable
from denseam.errors import InputError
from denseam.figures import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CELL = 0.5  # inches
_GAP = 0.3  # cells, between the table and the parts set apart
_EDGE = 0.06  # cells, of white around a sample
_WHITE_IS_CLEARER = 0.179  # relative luminance below which white text has more contrast than black


@dataclass(frozen=True, eq=False)
class TransferMap:
    """R image sets by V models.

    Raises:
        InputError: when the parts are not of the same models and sets.
    """

    table: TransferTable  # errors (Fig. 5) or mean confidences (Fig. 7), fractions
    quantity: str  # their name, like "error"
    clean: TransferTable | None = None  # rows to set apart: errors of the same models, clean images
    samples: Tensor | None = None  # (R, S, H, W) in [-1, 1]: S images of each set

    def __post_init__(self) -> None:
        if self.clean is not None and self.clean.victims != self.table.victims:
            raise InputError(
                f"clean is of {self.clean.victims}, wanted the models of the table, "
                f"{self.table.victims}"
            )
        if self.samples is not None:
            canvas.check_pictures("samples", self.samples, len(self.table.sources), None)

    @property
    def tables(self) -> tuple[TransferTable, ...]:
        """The tables from top to bottom."""
        return (self.table,) if self.clean is None else (self.table, self.clean)


def record_of(table: TransferTable, *, quantity: str | None = None) -> TransferMap:
    """Return the record of a table; ``quantity`` says what its numbers are, if it does not."""
    return TransferMap(table, quantity or table.quantity)


def plot(record: Any, ax: "Axes") -> None:
    """Draw a cell for each set (row) and model (column), its value in % written in it.

    Rows of ``clean`` stand below, ``samples`` to the right of their row. The darker, the larger:
    white is 0 and the darkest blue 100 %.

    Args:
        record: a ``TransferMap``, or a table of ``transfer_errors`` or ``transfer_confidence``.
        ax: where to; its ticks, spines and limits become those of the table.
    """
    record = canvas.as_record(record, TransferMap, record_of)
    R, V = record.table.values.shape
    tops = [0.0, R + _GAP][: len(record.tables)]
    for table, top in zip(record.tables, tops, strict=True):
        _draw_cells(ax, table.values, top)
    names = [canvas.literal(name) for name in record.table.victims]
    places, right = [v + 0.5 for v in range(V)], float(V)
    if record.samples is not None:
        wide = _draw_samples(ax, record.samples, V + _GAP)
        names.append("images")
        places.append(V + _GAP + wide / 2)
        right += _GAP + wide
    ax.set_xticks(places, names)
    tables = zip(record.tables, tops, strict=True)
    rows = [(name, top + r + 0.5) for table, top in tables for r, name in enumerate(table.sources)]
    ax.set_yticks([y for _, y in rows], [canvas.literal(name) for name, _ in rows])
    ax.tick_params(length=0, bottom=False, labeltop=True, labelbottom=False)
    ax.spines[:].set_visible(False)
    ax.set_aspect("equal")
    ax.set_xlim(0, right)
    bottom = tops[-1] + len(record.tables[-1].sources)
    ax.set_ylim(bottom, 0)
    ax.set_ylabel("images made against", y=1 - R / 2 / bottom)  # at the height of the table
    ax.set_xlabel(_caption(record))


def layout(record: TransferMap) -> dict[str, Any]:
    """Return the size of the figure, inches."""
    R, V = record.table.values.shape
    wide, high = float(V), float(R)
    if record.clean is not None:
        high += _GAP + len(record.clean.sources)
    if record.samples is not None:
        _, S, H, W = record.samples.shape
        wide += _GAP + S * W / H
    longest = max(len(name) for table in record.tables for name in table.sources)
    return {"size": (max(3.0, 0.5 + 0.062 * longest + _CELL * wide), 0.65 + _CELL * high)}


save = canvas.saver(plot, layout, TransferMap, record_of)


def _draw_cells(ax: "Axes", values: Tensor, top: float) -> None:
    """Draw coloured squares of side 1 from ``top`` downwards, with their values in %."""
    R, V = values.shape
    rows = [top + r for r in range(R + 1)]
    mesh = ax.pcolormesh(range(V + 1), rows, values.tolist(), cmap="Blues", vmin=0, vmax=1,
                         edgecolors="white", linewidth=1.2)  # fmt: skip
    for r, row in enumerate(values.tolist()):
        for v, value in enumerate(row):
            ground = torch.tensor(mesh.to_rgba(value)[:3])
            colour = "white" if _luminance(ground) < _WHITE_IS_CLEARER else "black"
            ax.text(v + 0.5, top + r + 0.5, f"{100 * value:.1f}", color=colour,
                    ha="center", va="center_baseline")  # fmt: skip


def _draw_samples(ax: "Axes", samples: Tensor, left: float) -> float:
    """Draw rows of images in gray, each as high as a cell; return their width in cells."""
    R, S, H, W = samples.shape
    width = W / H
    for r in range(R):
        for s in range(S):
            x = left + s * width
            extent = (x + _EDGE, x + width - _EDGE, r + 1 - _EDGE, r + _EDGE)
            canvas.show(ax, samples[r, s], "gray", extent=extent)
    return S * width


def _luminance(colour: Tensor) -> float:
    """Return the relative luminance of an sRGB colour (3,) in [0, 1], by WCAG 2."""
    linear = torch.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ torch.tensor([0.2126, 0.7152, 0.0722], dtype=linear.dtype))


def _caption(record: TransferMap) -> str:
    """Return a line on the quantity and its intervals, and one on the number of images."""
    counts = sorted({count for table in record.tables for count in table.counts})
    images = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    away = [(table.intervals - table.values[:, :, None]).abs().max() for table in record.tables]
    return (
        f"{record.quantity} of each model, %, ± {100 * float(max(away)):.1f} at most (95 %)\n"
        f"{images} images in a row"
    )

"""Retrieved states: the start, steps on the way, the end, the nearest pattern; and the energies."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from denseam.figures import canvas
from denseam.figures.mosaic import draw_mosaic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDE = 1e3  # energies over more than this ratio go on a logarithmic axis


@dataclass(frozen=True, eq=False)
class RetrievedStates:
    """A few retrieved states, as pictures and as energies."""

    pictures: Tensor  # (R, C, H, W) in [-1, 1]: a row for each state; NaN stays empty
    rows: tuple[str, ...]  # R
    columns: tuple[str, ...]  # C
    energies: tuple[tuple[float, ...], ...]  # R, each after 0, 1, ... steps


def plot_states(record: RetrievedStates, ax: "Axes") -> None:
    """Draw a row of pictures for each state."""
    draw_mosaic(ax, record.pictures, record.rows, record.columns)


def plot_energies(record: RetrievedStates, ax: "Axes") -> None:
    """Draw each state's energy against its steps, those above 1000 apart as -log10(-E)."""
    lines = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(line, dtype=torch.float64) for line in record.energies],
        batch_first=True, padding_value=torch.nan,
    )  # fmt: skip
    finite = lines[lines.isfinite()]
    below = bool(len(finite)) and bool((finite < 0).all())
    logarithmic = below and float(finite.min() / finite.max()) > _WIDE
    values = -(-lines).log10() if logarithmic else lines
    for i, line in enumerate(values):
        look = {**canvas.CURVES[i % len(canvas.CURVES)], "label": canvas.literal(record.rows[i])}
        ax.plot(range(len(line)), line.tolist(), **look)
    ax.set_xlabel("step")
    ax.set_ylabel(r"$-\log_{10}(-E)$" if logarithmic else "energy E")
    ax.locator_params(axis="x", integer=True)
    if len(record.rows) <= len(canvas.CURVES):
        canvas.legend(ax)


def plot(record: RetrievedStates, states: "Axes", energies: "Axes") -> None:
    """Draw the pictures above, the energies below."""
    plot_states(record, states)
    plot_energies(record, energies)


def draw(record: RetrievedStates, path: str | os.PathLike[str] | None = None) -> Any:
    """Write the figure to a file, or return it for a notebook; errors as in ``canvas.save``."""
    R, C, H, W = record.pictures.shape
    width = 6.3
    cell = (width - 1.2) / C
    height = R * cell * 1.1 * min(H / W, 3) + 0.4
    size = (width, height + 2.2)
    layout: dict[str, Any] = {"size": size, "rows": 2, "heights": (height, 2.2)}

    def drawing(*axes: "Axes") -> None:
        plot(record, *axes)

    if path is None:
        return canvas.figure(drawing, **layout)
    canvas.save(path, drawing, **layout)
    return None

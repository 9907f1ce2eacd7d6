"""Curves in panels side by side: measurements as points, theory as a line beside them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from denseam.errors import InputError
from denseam.figures import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Curve:
    """One curve; ``low`` and ``high`` are the ends of intervals, where there are any."""

    name: str
    x: tuple[float, ...]  # (L,)
    y: tuple[float, ...]  # (L,)
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    theory: bool = False  # a thin line without points, in the colour of the curve before it


@dataclass(frozen=True)
class Panel:
    """A set of curves on common axes."""

    xlabel: str
    ylabel: str
    curves: tuple[Curve, ...]
    xlog: bool = False
    ylog: bool = False
    marks: tuple[tuple[float, str], ...] = ()  # vertical lines, each with a name


def plot(panel: Panel, ax: "Axes") -> None:
    """Draw the curves of a panel.

    Raises:
        InputError: for more measured curves than can be told apart.
    """
    measured = [curve for curve in panel.curves if not curve.theory]
    if len(measured) > len(canvas.CURVES):
        raise InputError(f"{len(measured)} curves: at most {len(canvas.CURVES)} can be told apart")
    position = -1
    for curve in panel.curves:
        position += not curve.theory
        look = canvas.CURVES[max(0, position)]
        name = canvas.literal(curve.name)
        if curve.theory:
            ax.plot(curve.x, curve.y, color=look["color"], linewidth=0.8, alpha=0.7, label=name)
            continue
        ax.plot(curve.x, curve.y, **{**look, "label": name})
        if curve.low:
            ax.fill_between(curve.x, curve.low, curve.high, color=look["color"], alpha=0.15, lw=0)
    for where, name in panel.marks:
        ax.axvline(where, color="0.4", linewidth=0.7, zorder=0)
        ax.text(where, 1.02, canvas.literal(name), transform=ax.get_xaxis_transform(),
                ha="center", va="bottom", color="0.25", fontsize="small")  # fmt: skip
    if panel.xlog:
        from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter  # noqa: PLC0415

        ax.set_xscale("log")
        x = [value for curve in panel.curves for value in curve.x]
        wide = max(x) > 100 * min(x)  # labels of 2 and 5 would collide
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.xaxis.set_minor_formatter(NullFormatter())
    if panel.ylog:
        ax.set_yscale("log")
    ax.set_xlabel(panel.xlabel)
    ax.set_ylabel(panel.ylabel)
    ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(0, -0.22), borderaxespad=0)


def save(panels: Sequence[Panel], path: str | os.PathLike[str]) -> None:
    """Write panels side by side, two or three to a row; errors as in ``canvas.save``."""
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)

    def draw(*axes: "Axes") -> None:
        for panel, ax in zip(panels, axes, strict=False):
            plot(panel, ax)
        for ax in axes[len(panels) :]:
            ax.set_axis_off()

    canvas.save(path, draw, size=(2.6 * columns + 0.4, 3.0 * rows), rows=rows, columns=columns)

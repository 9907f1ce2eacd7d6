"""From a drawing to a file: one look for all figures, the same bytes every time.

Only ``matplotlib.figure`` is used, never ``pyplot``: no windows, no current figure, no state that
outlives a call.
"""

import io
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from denseam import files
from denseam.errors import InputError, MissingPackageError

__all__ = ["CURVES", "DPI", "literal", "need_matplotlib", "save"]

DPI = 300

# Colour, line and marker of the first curve, the second, ... Lightness rises by at least 15 of 100
# from each of four to the next, and the line differs too: they stay apart in print without colour,
# and for the colour-blind. Every other marker is hollow: one that lies below it shows through.
COLOURS = ("#0b2e63", "#9c3a0c", "#24a097", "#eaae3f")
LINES = ("-", (0, (4.5, 1.6)), (0, (5, 1.4, 1, 1.4)), (0, (1, 1.3)))
MARKERS = ("o", "s", "^", "D")
CURVES: tuple[dict[str, Any], ...] = tuple(
    {
        "color": COLOURS[i % 4],
        "linestyle": LINES[(i + i // 4) % 4],
        "marker": MARKERS[i % 4],
        "markerfacecolor": "none" if i % 2 else COLOURS[i % 4],
    }
    for i in range(8)
)

_STYLE: dict[Any, Any] = {
    "font.size": 8.0,
    "axes.labelsize": 8.0,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "pdf.fonttype": 42,  # fonts that other programs can read; journals refuse type 3
    "svg.hashsalt": "denseam",  # else the ids in the file are random
}


def literal(name: str) -> str:
    """A user's name as a label: dollars in it do not begin a formula."""
    return name.replace("$", r"\$")


# Without dates and versions a file depends on nothing but what is drawn.
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def need_matplotlib() -> None:
    """Say what to install where there is nothing to draw with.

    Raises:
        MissingPackageError: when matplotlib (which brings Pillow) is not installed.
    """
    try:
        import matplotlib  # noqa: ICN001, F401, PLC0415
        import PIL  # noqa: F401, PLC0415
    except ImportError as error:
        raise MissingPackageError(
            "figures need matplotlib: pip install 'denseam[figures]'"
        ) from error


def save(
    path: str | os.PathLike[str],
    draw: Callable[..., object],
    *,
    size: tuple[float, float] = (6.3, 3.0),
    rows: int = 1,
    columns: int = 1,
    widths: Sequence[float] | None = None,
    heights: Sequence[float] | None = None,
) -> None:
    """Draw a figure and write it atomically: PNG at 300 dpi, SVG or PDF, by suffix.

    The look does not depend on the user's matplotlib settings, which are left as they are.

    Args:
        path: a file ending in .png, .svg or .pdf.
        draw: called with ``rows * columns`` Axes, row by row.
        size: width and height, inches.
        rows: of Axes.
        columns: of Axes.
        widths: relative widths of the columns.
        heights: relative heights of the rows.

    Raises:
        InputError: for another suffix, or sizes that are not positive.
        MissingPackageError: when matplotlib is not installed.
        SaveError: when the file cannot be written; what stood there is untouched.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _METADATA:
        raise InputError(f"{path}: a figure is a {', '.join(_METADATA)} file, got {suffix!r}")
    _check_sizes(size, rows, columns, widths, heights)
    need_matplotlib()
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    contents = io.BytesIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(
            rows, columns, squeeze=False, width_ratios=widths, height_ratios=heights
        )
        draw(*axes.flat)
        figure.savefig(
            contents, format=suffix[1:], dpi=DPI, facecolor="white", metadata=_METADATA[suffix]
        )
    files.write_bytes(path, contents.getvalue())


def _check_sizes(
    size: tuple[float, float],
    rows: int,
    columns: int,
    widths: Sequence[float] | None,
    heights: Sequence[float] | None,
) -> None:
    if len(size) != 2 or not all(0 < s < math.inf for s in size):
        raise InputError(f"size = {size}: wanted width and height in inches, both > 0")
    if rows < 1 or columns < 1:
        raise InputError(f"rows = {rows}, columns = {columns}: wanted both >= 1")
    for what, ratios, count in (("widths", widths, columns), ("heights", heights, rows)):
        if ratios is not None and (len(ratios) != count or not all(r > 0 for r in ratios)):
            raise InputError(f"{what} = {ratios}: wanted {count} numbers > 0")

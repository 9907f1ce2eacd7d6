"""The frame of all figures: one look, checks that records share, files with the same bytes.

Only ``matplotlib.figure`` is used, never ``pyplot``: no windows, no current figure, no state that
outlives a call.
"""

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor

from denseam import files
from denseam.data.validate import check_images
from denseam.errors import InputError, MissingPackageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

__all__ = [
    "CURVES", "DPI", "Drawing", "check_pictures", "check_shape", "curves", "legend", "literal",
    "need_matplotlib", "save", "show",
]  # fmt: skip

T = TypeVar("T")

DPI = 300
_SCREEN = 150

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


# Without dates and versions a file depends on nothing but what is drawn.
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def need_matplotlib() -> None:
    """Raise an error that says what to install, where there is nothing to draw with.

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


def check_shape(what: str, values: Tensor, *sizes: int | None) -> None:
    """Raise InputError unless a tensor has this shape; None stands for any size."""
    shape = tuple(values.shape)
    fits = [b is None or a == b for a, b in zip(shape, sizes, strict=False)]
    if len(shape) != len(sizes) or not all(fits):
        names = ", ".join("any" if size is None else str(size) for size in sizes)
        raise InputError(f"{what} must have shape ({names}), got {shape}")


def check_pictures(what: str, images: Tensor, *lead: int | None) -> None:
    """Raise InputError unless images are floating, (*lead, H, W), in visible units [-1, 1]."""
    check_shape(what, images, *lead, None, None)
    if not images.is_floating_point():
        raise InputError(f"{what} must be floating, in [-1, 1], got {images.dtype}")
    check_images(images.flatten(0, -3))


def curves(names: Sequence[str], values: Sequence[T]) -> list[tuple[dict[str, Any], T]]:
    """Return for each name what ``Axes.plot`` needs, look and label, and what the curve is of.

    Raises:
        InputError: for no name, more than can be told apart, or another number of values.
    """
    if not 1 <= len(names) <= len(CURVES):
        raise InputError(f"{len(names)} curves: wanted 1 to {len(CURVES)}, to be told apart")
    if len(values) != len(names):
        raise InputError(f"{len(names)} names for {len(values)} curves: wanted one for each")
    looks = [{**look, "label": literal(name)} for look, name in zip(CURVES, names, strict=False)]
    return list(zip(looks, values, strict=True))


def literal(name: str) -> str:
    """Return a user's name as a label in which dollars do not begin a formula."""
    return name.replace("$", r"\$")


def legend(ax: "Axes") -> None:
    """Put the legend to the right of the Axes, where no curve can run into it."""
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def show(ax: "Axes", image: Tensor, colours: str, **options: Any) -> "AxesImage":
    """Draw an image (H, W) in [-1, 1], one square for each pixel; NaN stays empty."""
    pixels = image.detach().cpu().numpy()
    return ax.imshow(pixels, cmap=colours, vmin=-1, vmax=1, interpolation="nearest", **options)


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
        InputError: for another suffix.
        MissingPackageError: when matplotlib is not installed.
        SaveError: when the file cannot be written; what stood there is untouched.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _METADATA:
        raise InputError(f"{path}: a figure is a {', '.join(_METADATA)} file, got {suffix!r}")
    layout: dict[str, Any] = {
        "size": size,
        "rows": rows,
        "columns": columns,
        "widths": widths,
        "heights": heights,
    }
    files.write_bytes(path, _drawn(suffix, draw, **layout))


class Drawing:
    """A figure that draws itself where it is shown: the value of a cell in a notebook."""

    def __init__(self, draw: Callable[..., object], layout: dict[str, Any]) -> None:
        self._draw, self._layout = draw, layout

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file; errors as in ``save`` of this module."""
        save(path, self._draw, **self._layout)

    def _repr_png_(self) -> bytes:
        return _drawn(".png", self._draw, dpi=_SCREEN, **self._layout)


def _drawn(
    suffix: str,
    draw: Callable[..., object],
    *,
    size: tuple[float, float] = (6.3, 3.0),
    rows: int = 1,
    columns: int = 1,
    widths: Sequence[float] | None = None,
    heights: Sequence[float] | None = None,
    dpi: int = DPI,
) -> bytes:
    """Return a figure as the bytes of a file; arguments as for ``save``."""
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
            contents, format=suffix[1:], dpi=dpi, facecolor="white", metadata=_METADATA[suffix]
        )
    return contents.getvalue()

"""The frame of all figures: one look, checks that records share, files with the same bytes.

Only ``matplotlib.figure`` is used, never ``pyplot``: no windows, no current figure, no state that
outlives a call.
"""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor

from denseam import files
from denseam.data.validate import check_images
from denseam.errors import InputError, MissingPackageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

T = TypeVar("T")

DPI = 300
_SCREEN_DPI = 110  # in a notebook

# Colour, line and marker of the first curve, the second, ... Lightness rises by at least 15 of 100
# from each of four to the next, and the line differs too: they stay apart in print without colour,
# and for the colour-blind. Each curve has a marker of its own; every
# other one is hollow: what lies below it shows through.
COLOURS = ("#0b2e63", "#9c3a0c", "#24a097", "#eaae3f")
LINES = ("-", (0, (4.5, 1.6)), (0, (5, 1.4, 1, 1.4)), (0, (1, 1.3)))
MARKERS = ("o", "s", "^", "D", "P", "v", "X", "*")
CURVES: tuple[dict[str, Any], ...] = tuple(
    {
        "color": COLOURS[i % 4],
        "linestyle": LINES[(i + i // 4) % 4],
        "marker": MARKERS[i],
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
        _import_matplotlib()
        import PIL  # noqa: F401, PLC0415
    except ImportError as error:
        raise MissingPackageError(
            "figures need matplotlib: pip install 'denseam[figures]'"
        ) from error


def _import_matplotlib() -> None:
    """Import matplotlib, whatever the variable MPLBACKEND says.

    Jupyter names a module in it for all processes that a notebook starts; where that module is
    missing, the import would fail half way. No backend is needed here: figures become files.
    """
    if sys.modules.get("matplotlib") is not None:
        return
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib as mpl  # noqa: PLC0415
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with contextlib.suppress(ValueError):  # one that is not there
            mpl.rcParams["backend"] = backend


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
    """Draw an image (H, W) in [-1, 1], one square for each pixel; NaN stays empty.

    One in colour, (3, H, W), is drawn in its own colours.
    """
    pixels = image.detach().cpu()
    if image.ndim == 3:
        unit = (pixels.nan_to_num(1.0).movedim(0, -1) * 0.5 + 0.5).clamp(0, 1)
        return ax.imshow(unit.numpy(), interpolation="nearest", **options)
    scale: dict[str, Any] = {"cmap": colours, "vmin": -1, "vmax": 1}
    return ax.imshow(pixels.numpy(), interpolation="nearest", **scale, **options)


def as_record(shown: object, kind: type[T], record_of: Callable[..., T]) -> T:
    """Return the record that a figure draws: ``shown`` itself, or what ``record_of`` makes of it.

    Raises:
        InputError: for an object that another figure draws, or none.
    """
    if isinstance(shown, kind):
        return shown
    figure = record_of.__module__.rpartition(".")[2]
    if getattr(shown, "_figure", None) == figure:
        return record_of(shown)
    hint = ": it draws itself, call its plot()" if hasattr(shown, "_figure") else ""
    raise InputError(f"figures.{figure} draws a {kind.__name__}, got {type(shown).__name__}{hint}")


def drawn(module: ModuleType, shown: object, ax: Any, options: Mapping[str, Any]) -> Any:
    """Draw an object by its module of figures; see ``Drawn.plot``."""
    record = module.record_of(shown, **options)
    draw = partial(_on_axes, module.plot, record)
    if ax is None:
        return figure(draw, **module.layout(record))
    if isinstance(ax, str | os.PathLike):
        save(ax, draw, **module.layout(record))
        return None
    module.plot(record, ax)
    return ax


def saver(
    plot: Callable[..., object],
    layout: Callable[..., Mapping[str, Any]],
    kind: type[T] | None = None,
    record_of: Callable[..., T] | None = None,
) -> Callable[..., None]:
    """Return the ``save(record, path)`` of a module of figures.

    Args:
        plot: draws a record on Axes.
        layout: returns size and panels for a record, as ``figure`` takes them.
        kind: of the record, where other objects are drawn too.
        record_of: makes a record of such an object.
    """

    def save_figure(record: Any, path: str | os.PathLike[str], **options: Any) -> None:
        """Write the figure to a .png, .svg or .pdf file; errors as in ``plot`` and ``canvas.save``.

        Options are those of ``plot``.
        """
        if kind is not None and record_of is not None:
            record = as_record(record, kind, record_of)
        save(path, partial(_on_axes, plot, record, **options), **layout(record))

    return save_figure


def fixed(**frame: Any) -> Callable[[object], dict[str, Any]]:
    """Return the ``layout`` of a module whose figure has one size and number of panels."""
    return lambda _: frame


def _on_axes(plot: Callable[..., object], record: object, *axes: "Axes", **options: Any) -> None:
    plot(record, axes[0] if len(axes) == 1 else axes, **options)


def save(path: str | os.PathLike[str], draw: Callable[..., object], **frame: Any) -> None:
    """Draw a figure and write it atomically: PNG at 300 dpi, SVG or PDF, by suffix.

    Args:
        path: a file ending in .png, .svg or .pdf.
        draw: called with the Axes, row by row.
        **frame: size and panels, as ``figure`` takes them.

    Raises:
        InputError: for another suffix.
        MissingPackageError: when matplotlib is not installed.
        SaveError: when the file cannot be written; what stood there is untouched.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _METADATA:
        raise InputError(f"{path}: a figure is a {', '.join(_METADATA)} file, got {suffix!r}")
    files.write_bytes(path, _bytes(figure(draw, **frame), suffix))


def figure(
    draw: Callable[..., object],
    *,
    size: tuple[float, float] = (6.3, 3.0),
    rows: int = 1,
    columns: int = 1,
    widths: Sequence[float] | None = None,
    heights: Sequence[float] | None = None,
) -> "Figure":
    """Return a figure in the look of all figures.

    The look does not depend on the user's matplotlib settings, which are left as they are.

    Args:
        draw: called with ``rows * columns`` Axes, row by row.
        size: width and height, inches.
        rows: of Axes.
        columns: of Axes.
        widths: relative widths of the columns.
        heights: relative heights of the rows.

    Raises:
        MissingPackageError: when matplotlib is not installed.
    """
    need_matplotlib()
    with _look():
        picture = _kind()(figsize=size, layout="constrained")
        axes = picture.subplots(
            rows, columns, squeeze=False, width_ratios=widths, height_ratios=heights
        )
        draw(*axes.flat)
    return picture


def _bytes(figure: "Figure", suffix: str, dpi: int = DPI) -> bytes:
    """Return a figure as the contents of a file."""
    contents = io.BytesIO()
    with _look():
        figure.savefig(
            contents, format=suffix[1:], dpi=dpi, facecolor="white", metadata=_METADATA[suffix]
        )
    return contents.getvalue()


@contextlib.contextmanager
def _look() -> Iterator[None]:
    """Draw by our own settings; the user's come back afterwards."""
    import matplotlib as mpl  # noqa: PLC0415

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


@cache
def _kind() -> "type[Figure]":
    """Return a figure that shows itself in a notebook, without pyplot."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            return _bytes(self, ".png", _SCREEN_DPI)

    return Picture

"""Objects that show themselves: a line of text, a page in a notebook, a picture, a table of rows.

An object knows what there is to say about it. How it is drawn is known to ``denseam.figures``, a
room far above most objects. ``Drawn.plot`` therefore imports the figure by name when it is called,
and ``room`` is the only place where a lower room reaches a higher one; a test holds that.
"""

import base64
import html
import importlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import ModuleType
from typing import Any, ClassVar, cast

from torch import Tensor

from denseam.errors import MissingPackageError

__all__ = ["Drawn", "Shown", "Tabular", "room"]

_ITEMS, _LETTERS = 4, 60  # of a value in a ``repr``
_ROWS = 20  # of a table in a notebook
_THUMBNAILS = 20  # images in a notebook


def room(name: str) -> ModuleType:
    """Import a room of the package by name, such as "figures.memories", when it is needed."""
    return importlib.import_module(f"denseam.{name}")


class Shown:
    """An object with a ``repr`` of one line, and a few more words and pictures in a notebook.

    Dataclasses need ``repr=False``. Without a ``_summary`` of theirs, their fields are listed, and
    tensors by shape and type.
    """

    def _summary(self) -> str:
        """Return what stands between the parentheses of the ``repr``."""
        names = (each.name for each in fields(cast("Any", self)))
        return ", ".join(f"{name}={_short(getattr(self, name))}" for name in names)

    def _rows(self) -> Mapping[str, Sequence[Any]]:
        """Return the columns of the table in a notebook, none by default."""
        return self._columns() if isinstance(self, Tabular) else {}

    def _thumbnails(self) -> Tensor | None:
        """Return images (M, H, W) or (M, 3, H, W) for a notebook, uint8 or in [-1, 1]; or None."""
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._summary()})"

    def _repr_html_(self) -> str:
        images = self._thumbnails()
        parts = [
            f"<pre>{html.escape(repr(self))}</pre>",
            "" if images is None else _picture(images[:_THUMBNAILS]),
            _table(self._rows()),
        ]
        return f"<div>{''.join(parts)}</div>"


class Tabular:
    """An object with rows."""

    def _columns(self) -> Mapping[str, Sequence[Any]]:
        """Return the columns of the table, plain values of the same number of rows, by name."""
        raise NotImplementedError

    def to_frame(self) -> Any:
        """Return the rows as a data frame of pandas.

        Raises:
            MissingPackageError: when pandas is not installed.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise MissingPackageError(
                "to_frame needs pandas: pip install 'denseam[frames]'"
            ) from error
        return pandas.DataFrame(dict(self._columns()))


class Drawn:
    """An object that a module of ``denseam.figures`` draws."""

    _figure: ClassVar[str]  # the module

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """Draw the object.

        Args:
            ax: Axes of Matplotlib to draw on, or as many of them as the figure has panels; or a
                file to write, .png, .svg or .pdf. None makes a figure, which a notebook shows and
                which has ``savefig``.
            **options: of ``record_of`` in the module of ``denseam.figures`` that draws it.

        Returns:
            The figure, or the Axes that were given; nothing for a file.

        Raises:
            MissingPackageError: when matplotlib is not installed.
            InputError: where there is nothing to draw.
        """
        return room("figures.canvas").drawn(room(f"figures.{self._figure}"), self, ax, options)


def _picture(images: Tensor) -> str:
    """Return an <img> that holds a contact sheet; nothing where it cannot be drawn."""
    contents = io.BytesIO()
    try:
        sheet = room("figures.grid").grid(images, columns=len(images), scale=_scale(images))
    except MissingPackageError:
        return ""
    sheet.save(contents, format="PNG")
    data = base64.b64encode(contents.getvalue()).decode()
    return f'<img alt="images" src="data:image/png;base64,{data}">'


def _scale(images: Tensor) -> int:
    """Return the screen pixels along an edge of an image pixel: small images are enlarged."""
    return max(1, round(40 / max(images.shape[-2:])))


def _table(columns: Mapping[str, Sequence[Any]]) -> str:
    """Return a <table> of the first rows."""
    rows = list(zip(*columns.values(), strict=True))
    if not rows:
        return ""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(_cell(value))}</td>' for value in row)}</tr>"
        for row in rows[:_ROWS]
    )
    more = f"<br>{len(rows)} rows" if len(rows) > _ROWS else ""
    return f"<table><tr>{head}</tr>{body}</table>{more}"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _short(value: Any) -> str:
    """Return a value in a few characters."""
    if isinstance(value, Tensor):
        shape = "x".join(map(str, value.shape)) or "scalar"
        return f"<{shape} {str(value.dtype).removeprefix('torch.')}>"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple | list):
        more = ", ..." if len(value) > _ITEMS else ""
        items = ", ".join(map(_short, value[:_ITEMS]))
        left, right = "()" if isinstance(value, tuple) else "[]"
        return f"{left}{items}{more}{right}"
    if isinstance(value, Mapping):
        more = ", ..." if len(value) > _ITEMS else ""
        items = ", ".join(f"{k!r}: {_short(value[k])}" for k in list(value)[:_ITEMS])
        return f"{{{items}{more}}}"
    text = repr(value)
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 3]}..."

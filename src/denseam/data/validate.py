"""Checks on images, labels and facts, shared by every part of the package that takes them.

Each raises :class:`~denseam.errors.InputError`, which says what was given and what is wanted. Each
looks at a tensor once (one ``aminmax`` pass), which is cheap next to what happens to it afterwards.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from denseam.checks import whole
from denseam.errors import InputError

_TAKEN = ("images", "features", "labels")  # no names of facts
SLACK = 1e-6
"""Pixels may lie this far beyond -1 or +1: rounding in float32 takes them there."""


def check_visible(v: Tensor, n_visible: int, *, allow_empty: bool = True) -> None:
    """Raise InputError unless ``v`` is a floating batch of images in visible units.

    Args:
        v: (B, N) floating, visible units [-1, 1].
        n_visible: N, the number of pixels of an image.
        allow_empty: whether B = 0 is fine.
    """
    if not isinstance(v, Tensor):
        raise InputError(f"visible must be a torch.Tensor (B, {n_visible}), got {_kind(v)}")
    if not v.is_floating_point():
        hint = " (ImageSet.visible() converts uint8 images)" if v.dtype == torch.uint8 else ""
        raise InputError(f"visible must be floating in [-1, 1], got dtype {v.dtype}{hint}")
    if v.ndim != 2 or v.shape[1] != n_visible:
        raise InputError(f"visible must have shape (B, {n_visible}), got {tuple(v.shape)}")
    if v.shape[0] == 0:
        if not allow_empty:
            raise InputError(f"visible holds no image: shape {tuple(v.shape)}, wanted B >= 1")
        return
    _check_range(v, "visible")


def check_images(images: Tensor) -> None:
    """Raise InputError unless there are images: uint8, or floating in [-1, 1].

    Args:
        images: (M, H, W), or (M, 3, H, W) in colour.
    """
    if not isinstance(images, Tensor):
        raise InputError(f"images must be a torch.Tensor (M, H, W), got {_kind(images)}")
    colour = images.ndim == 4 and images.shape[1] == 3
    if not (images.ndim == 3 or colour) or 0 in images.shape[1:]:
        raise InputError(
            f"images must have shape (M, 3, H, W) or (M, H, W), got {tuple(images.shape)}"
        )
    if images.shape[0] == 0:
        raise InputError(f"the set is empty: images have shape {tuple(images.shape)}")
    if images.dtype == torch.uint8:
        return
    if images.dtype not in (torch.float32, torch.float64):
        raise InputError(f"images must be uint8, float32 or float64, got {images.dtype}")
    _check_range(images, "images")


def check_features(features: Tensor) -> None:
    """Raise InputError unless there are rows (M, D) of finite float32 or float64 numbers."""
    if not isinstance(features, Tensor):
        raise InputError(f"features must be a torch.Tensor (M, D), got {_kind(features)}")
    if features.ndim != 2 or features.shape[1] == 0:
        raise InputError(f"features must have shape (M, D), got {tuple(features.shape)}")
    if features.shape[0] == 0:
        raise InputError(f"the set is empty: features have shape {tuple(features.shape)}")
    if features.dtype not in (torch.float32, torch.float64):
        raise InputError(f"features must be float32 or float64, got {features.dtype}")
    bad = (~features.isfinite()).nonzero()
    if len(bad):
        row, column = (int(x) for x in bad[0])
        raise InputError(
            f"features must be finite: row {row}, column {column} (counted from 0) is "
            f"{float(features[row, column])}; {len(bad)} such in all"
        )


def check_labels(labels: Tensor, n_classes: int, count: int) -> None:
    """Raise InputError unless there are ``count`` labels in 0 .. n_classes - 1.

    Args:
        labels: (count,) int64.
        n_classes: C, the number of classes.
        count: the number of images that the labels belong to.
    """
    if not isinstance(labels, Tensor):
        raise InputError(f"labels must be a torch.Tensor ({count},), got {_kind(labels)}")
    if labels.dtype != torch.int64:
        raise InputError(f"labels must be int64, got {labels.dtype}")
    if tuple(labels.shape) != (count,):
        raise InputError(f"labels must have shape ({count},), got {tuple(labels.shape)}")
    n_classes = whole("n_classes", n_classes)
    if count == 0:
        return
    low, high = (int(x) for x in torch.aminmax(labels))
    if low < 0 or high >= n_classes:
        hint = "; they look one too high, subtract 1" if (low, high) == (1, n_classes) else ""
        raise InputError(f"labels must lie in 0..{n_classes - 1}, got {low}..{high}{hint}")


def check_every_class_present(labels: Tensor, n_classes: int) -> None:
    """Raise InputError unless labels (M,) hold each of the classes 0 .. n_classes - 1."""
    present = set(torch.unique(labels).tolist())
    missing = list(islice((c for c in range(n_classes) if c not in present), 11))
    if missing:
        shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        hint = "; do the labels start at 1? Subtract 1" if missing == [0] else ""
        raise InputError(f"no example of class {shown} (of {n_classes} classes){hint}")


def check_class_names(class_names: Sequence[str], n_classes: int) -> None:
    """Raise InputError unless there are ``n_classes`` distinct strings."""
    if len(class_names) != n_classes:
        raise InputError(f"{n_classes} classes need {n_classes} names, got {len(class_names)}")
    if not all(isinstance(name, str) for name in class_names):
        raise InputError(f"class names must be strings, got {tuple(class_names)!r}")
    if len(set(class_names)) != n_classes:
        raise InputError(f"class names must differ from one another, got {tuple(class_names)!r}")


def check_facts(facts: Mapping[str, Tensor], count: int) -> None:
    """Raise InputError unless facts are named tensors with ``count`` rows.

    Args:
        facts: by name, (count, ...) bool, integer or floating. NaN is fine: a margin that does
            not exist.
        count: M, the number of images that the facts belong to.
    """
    if not isinstance(facts, Mapping):
        raise InputError(f"facts must map names to tensors, got {_kind(facts)}")
    for name, value in facts.items():
        _check_fact_name(name)
        if not isinstance(value, Tensor):
            raise InputError(f"fact {name!r} must be a torch.Tensor, got {_kind(value)}")
        if value.is_complex() or value.is_quantized or value.layout is not torch.strided:
            raise InputError(
                f"fact {name!r} must be dense and bool, integer or floating, got {value.dtype} "
                f"({value.layout})"
            )
        if value.ndim == 0 or len(value) != count:
            raise InputError(
                f"fact {name!r} must have shape ({count},) or ({count}, ...), "
                f"got {tuple(value.shape)}"
            )


def range_hint(low: float, high: float) -> str:
    """Return the end of a message: what such a minimum and maximum look like."""
    if low >= 0 and 1 < high <= 255:
        return "; these look like 0..255 pixels: use scale='byte' or v / 127.5 - 1"
    return ""


def _check_range(pixels: Tensor, what: str) -> None:
    """Raise InputError unless pixels are finite and in [-1, 1]."""
    # NaN survives aminmax: one pass finds everything.
    low, high = (float(x) for x in torch.aminmax(pixels.detach()))
    if math.isnan(low) or math.isnan(high):
        raise InputError(f"{what} holds NaN pixels; every pixel must be finite, in [-1, 1]")
    if math.isinf(low) or math.isinf(high):
        raise InputError(f"{what} holds infinite pixels; every pixel must be finite, in [-1, 1]")
    if low < -1 - SLACK or high > 1 + SLACK:
        hint = range_hint(low, high)
        raise InputError(f"{what} must lie in [-1, 1], got {low:g}..{high:g}{hint}")


def _check_fact_name(name: Any) -> None:
    if not isinstance(name, str) or not name:
        raise InputError(f"the name of a fact must be a non-empty string, got {name!r}")
    # Names of facts become names in a file: UTF-8 without lone surrogates, in a zip file.
    if any(c in "\0/" or "\ud800" <= c <= "\udfff" for c in name):
        raise InputError(f"the name of a fact must hold no NUL, '/' or surrogate, got {name!r}")
    if name in _TAKEN:
        raise InputError(f"no fact may be called {name!r}: the set itself has that")


def _kind(value: object) -> str:
    return type(value).__name__

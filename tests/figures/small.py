"""Small records with made-up numbers, and Axes without pyplot."""

import math
from dataclasses import replace

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from denseam.figures import BoundaryTrace, RubbishGrid, SignCurves


def some_axes(count: int = 1) -> list[Axes]:
    return list(Figure(layout="constrained").subplots(1, count, squeeze=False).flat)


def some_grid(**changes: object) -> RubbishGrid:
    """2 models, 3 classes, images of 5 x 4; two of them missing."""
    missing = torch.zeros(2, 3, dtype=torch.bool)
    missing[0, 2] = missing[1, 0] = True
    record = RubbishGrid(("n = 2", "n = 30"), ("a", "b", "c"), torch.rand(2, 3, 5, 4), missing)
    return replace(record, **changes)  # type: ignore[arg-type]


def some_trace(**changes: object) -> BoundaryTrace:
    """Three steps of 0.5; the objectives cross halfway through the second."""
    record = BoundaryTrace(
        "n = 30", (-6.0, -4.0, 0.0, 2.0), (1.0, -1.0, -3.0, -9.0), 1.5, 0.5,
        torch.rand(3, 5, 4) * 2 - 1, ("5", "5 / 3", "3"),
    )  # fmt: skip
    return replace(record, **changes)  # type: ignore[arg-type]


def some_curves(**changes: object) -> SignCurves:
    """2 models at 3 sizes; the second makes no error at size 0.1."""
    errors = torch.tensor([[0.02, 0.5, 1.0], [0.01, 0.0, 0.25]])
    intervals = torch.stack([(errors - 0.01).clamp(min=0), (errors + 0.02).clamp(max=1)], dim=2)
    confidences = torch.tensor([[0.7, 0.9, 0.95], [0.6, math.nan, 0.14]])
    record = SignCurves(
        ("n = 2", "n = 30"), (0.0, 0.1, 0.5), errors, intervals, confidences, 400
    )  # fmt: skip
    return replace(record, **changes)  # type: ignore[arg-type]

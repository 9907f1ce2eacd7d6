"""Small records with made-up numbers, and Axes without pyplot."""

import math
from dataclasses import replace

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from denseam.analysis import ConfidenceBins, MemoryStatistics, TransferTable, confidence_bins
from denseam.figures import (
    BoundaryTrace,
    ConfidenceCurves,
    MemoryGrids,
    RubbishGrid,
    SignCurves,
    TransferMap,
    VoteCurves,
)


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


def some_memories(**changes: object) -> MemoryGrids:
    """Five memories of 5 x 4 of each of 3 models: grids of 3 + 2."""
    record = MemoryGrids(("n = 2", "n = 3", "n = 30"), torch.rand(3, 5, 5, 4) * 2 - 1)
    return replace(record, **changes)  # type: ignore[arg-type]


def some_table(**changes: object) -> TransferTable:
    """Two sets on three models."""
    values = torch.tensor([[0.991, 0.2, 0.0], [0.5, 0.34567, 1.0]], dtype=torch.float64)
    intervals = torch.stack([(values - 0.03).clamp(min=0), (values + 0.04).clamp(max=1)], dim=2)
    record = TransferTable(("n = 2", "a longer name"), ("a", "b", "c"), values, intervals, (70, 90))
    return replace(record, **changes)  # type: ignore[arg-type]


def some_clean(**changes: object) -> TransferTable:
    """The same three models on clean images."""
    values = torch.tensor([[0.016, 0.02, 0.018]], dtype=torch.float64)
    intervals = torch.stack([values - 0.002, values + 0.002], dim=2)
    record = TransferTable(("clean",), ("a", "b", "c"), values, intervals, (10_000,))
    return replace(record, **changes)  # type: ignore[arg-type]


def some_map(**changes: object) -> TransferMap:
    """Errors, clean errors and two samples of 6 x 3 of each set."""
    samples = torch.rand(2, 2, 6, 3) * 2 - 1
    return replace(TransferMap(some_table(), "error", some_clean(), samples), **changes)  # type: ignore[arg-type]


def some_bins() -> ConfidenceBins:
    """Thirds; nothing in the second."""
    Z = torch.tensor([0.1, 0.3, 0.9, 0.9, 1.0, 0.8])
    wrong = torch.tensor([True, False, False, True, False, False])
    return confidence_bins(Z, wrong, (0, 1 / 3, 2 / 3, 1))


def some_confidences(**changes: object) -> ConfidenceCurves:
    """Two models, one of them twice as sure of anything."""
    other = confidence_bins(torch.tensor([0.5, 0.9]), torch.tensor([False, True]), (0, 0.2, 0.6, 1))
    return replace(ConfidenceCurves(("n = 2", "n = 30"), (some_bins(), other)), **changes)  # type: ignore[arg-type]


def some_statistics(**changes: object) -> MemoryStatistics:
    """Ten memories, two of them dead, of a model of 3 classes; 20 images."""
    record = MemoryStatistics(
        power=2.0, n_memories=10, n_dead=2, votes=(1, 2, 4, 3), live_votes=(1, 2, 4, 1),
        firm_votes=(4, 3, 2, 1), live_firm_votes=(4, 3, 1, 0), n_images=20,
        contributor_bins=((0, 0), (1, 1), (2, 3), (4, 7), (8, 10)), contributors=(0, 15, 0, 5, 0),
        prototype_mean=0.5, prototype_median=0.4,
    )  # fmt: skip
    return replace(record, **changes)  # type: ignore[arg-type]


def some_votes(**changes: object) -> VoteCurves:
    """Two models; the second has fewer memories and classes."""
    other = some_statistics(
        n_memories=4, n_dead=1, votes=(1, 2, 1), live_votes=(0, 2, 1), firm_votes=(1, 1, 2),
        live_firm_votes=(1, 0, 2), n_images=8, contributor_bins=((0, 0), (1, 1), (2, 3), (4, 4)),
        contributors=(0, 6, 2, 0),
    )  # fmt: skip
    return replace(VoteCurves(("n = 2", "n = 30"), (some_statistics(), other)), **changes)  # type: ignore[arg-type]

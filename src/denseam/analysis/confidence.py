"""Confidence (section 5.1): a model's own beta_sm, and error against confidence (Fig. 6)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from denseam.checks import number, numbers
from denseam.classifier import Classifier
from denseam.data.validate import check_labels
from denseam.errors import InputError
from denseam.evaluation import wilson_interval
from denseam.showing import Drawn, Shown, Tabular

BETA_SM = 3.2
"""The paper's beta_sm: ideal outputs, +1 once and -1 nine times, then have Z = 0.985."""

_CHUNK = 10_000
_LARGEST_BETA = 1e9  # softmax(beta Y) no longer changes


def confidence(model: Classifier, visible: Tensor, beta_sm: float = BETA_SM) -> Tensor:
    """Return Z = max_a softmax_a(beta_sm Y_a) of images, (B,) in [1/C, 1].

    Args:
        model: whose Y to take.
        visible: (B, N) in [-1, 1], of the model's dtype and on its device.
        beta_sm: inverse temperature of the softmax, > 0.

    Raises:
        InputError: when ``visible`` does not fit the model, or for beta_sm <= 0.
    """
    with torch.no_grad():
        chunks = torch.split(visible, _CHUNK)
        return torch.cat([confidence_of(model(chunk), beta_sm) for chunk in chunks])


def confidence_of(activity: Tensor, beta_sm: float = BETA_SM) -> Tensor:
    """Return Z of class activities Y (B, C), (B,) in [1/C, 1].

    Raises:
        InputError: for beta_sm <= 0, or anything but a floating (B, C).
    """
    beta_sm = number("beta_sm", beta_sm, above=0)
    if activity.ndim != 2 or not activity.is_floating_point():
        shape = tuple(activity.shape)
        raise InputError(f"activity is {shape} {activity.dtype}: wanted a floating (B, C)")
    return torch.softmax(beta_sm * activity, dim=1).amax(dim=1)


def calibrate_beta(model: Classifier, visible: Tensor, labels: Tensor) -> float:
    """Find the beta_sm at which the mean confidence on these images equals the accuracy.

    Args:
        model: whose Y to take.
        visible: (B, N) in [-1, 1], of the model's dtype and on its device.
        labels: (B,) right classes.

    Raises:
        InputError: when ``visible`` or ``labels`` do not fit the model, and when there is no such
            beta_sm > 0: the model is right on every image, or no better than chance.
    """
    check_labels(labels, model.n_classes, len(visible))
    with torch.no_grad():
        chunks = torch.split(visible, _CHUNK)
        activity = torch.cat([model(chunk) for chunk in chunks])
        predicted = torch.cat([model.predict(chunk) for chunk in chunks])
    return solve_beta(activity, float((predicted == labels.to(predicted.device)).double().mean()))


def solve_beta(activity: Tensor, accuracy: float) -> float:
    """Find the beta_sm at which the mean of Z over the rows of Y (B, C) is ``accuracy``.

    Mean Z rises with beta_sm, from 1 / C to the fraction of rows with a single largest Y.

    Raises:
        InputError: for an empty Y, or when ``accuracy`` is not between those two.
    """
    exact = activity.double()
    if exact.ndim != 2 or not len(exact):
        raise InputError(f"activity has shape {tuple(activity.shape)}: wanted (B, C), B >= 1")
    chance = 1 / exact.shape[1]
    limit = float(confidence_of(exact, _LARGEST_BETA).mean())
    accuracy = number("accuracy", accuracy)
    if not chance < accuracy < limit:
        raise InputError(
            f"no beta_sm > 0 has a mean confidence of {accuracy:.4f}: it goes from {chance:.4f} "
            f"to {limit:.4f} here"
        )
    return first_above(lambda beta: float(confidence_of(exact, beta).mean()) >= accuracy)


def first_above(holds: Callable[[float], bool]) -> float:
    """Find the x > 0, to a relative 1e-12, from which on a condition holds."""
    low, high = 0.0, 1.0
    while not holds(high):
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


@dataclass(frozen=True, repr=False)
class ConfidenceBins(Shown, Drawn, Tabular):
    """Images sorted by confidence into J bins; a bin without images has NaN.

    Attributes:
        edges: (J + 1,), rising; a bin holds low <= Z < high, the last one Z = 1 too.
        counts: (J,) images.
        errors: (J,) fraction of the bin's images.
        intervals: (J,) 95 % intervals of the errors.
        confidences: (J,) mean Z of the bin's images.
    """

    _figure: ClassVar[str] = "confidence"

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    errors: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    confidences: tuple[float, ...]

    def _summary(self) -> str:
        return (
            f"{sum(self.counts)} images in {len(self.counts)} bins, expected calibration error "
            f"{100 * self.expected_calibration_error:.2f} %"
        )

    def _columns(self) -> dict[str, list[float]]:
        low, high = zip(*self.intervals, strict=True)
        return {
            "from": [*self.edges[:-1]], "to": [*self.edges[1:]], "images": [*self.counts],
            "confidence": [*self.confidences], "error": [*self.errors], "low": [*low],
            "high": [*high],
        }  # fmt: skip

    @property
    def expected_calibration_error(self) -> float:
        """Return the mean over images of |accuracy - mean confidence| of their bins."""
        bins = zip(self.counts, self.errors, self.confidences, strict=True)
        gaps = [n * abs(1 - error - Z) for n, error, Z in bins if n]
        return sum(gaps) / sum(self.counts)


def confidence_bins(
    confidences: Tensor, wrong: Tensor, edges: Sequence[float] | None = None
) -> ConfidenceBins:
    """Sort images into bins of confidence, and measure the error in each (Fig. 6).

    Args:
        confidences: (B,) Z, in [0, 1].
        wrong: (B,) bool.
        edges: of the bins, rising from 0 to 1; by default tenths.

    Raises:
        InputError: for edges that do not rise from 0 to 1, or other shapes or ranges.
    """
    cuts = tuple(numbers("edges", edges)) if edges is not None else tuple(i / 10 for i in range(11))
    if len(cuts) < 2 or cuts[0] != 0 or cuts[-1] != 1 or sorted(set(cuts)) != list(cuts):
        raise InputError(f"edges = {cuts}: wanted numbers rising from 0 to 1")
    if confidences.ndim != 1 or wrong.shape != confidences.shape or wrong.dtype != torch.bool:
        raise InputError(
            f"confidences are {tuple(confidences.shape)}, wrong is {tuple(wrong.shape)} "
            f"{wrong.dtype}: wanted (B,) and (B,) bool"
        )
    Z = confidences.double()
    if not len(Z) or not bool(((Z >= 0) & (Z <= 1)).all()):
        raise InputError("confidences: wanted one number or more, in [0, 1]")
    place = torch.bucketize(Z, torch.tensor(cuts[1:-1], dtype=Z.dtype), right=True)
    inside = [place == j for j in range(len(cuts) - 1)]
    counts = [int(rows.sum()) for rows in inside]
    failed = [int(wrong[rows].sum()) for rows in inside]
    nothing = (math.nan, math.nan)
    return ConfidenceBins(
        cuts,
        tuple(counts),
        tuple(k / n if n else math.nan for k, n in zip(failed, counts, strict=True)),
        tuple(wilson_interval(k, n) if n else nothing for k, n in zip(failed, counts, strict=True)),
        tuple(float(Z[rows].mean()) for rows in inside),
    )

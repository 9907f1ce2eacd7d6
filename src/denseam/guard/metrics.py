"""How well a score tells junk from clean images. Junk is the positive class, always.

Exact and few, so that they need no scikit-learn, which only ``denseam.sklearn`` may import. Ties
are counted as scikit-learn counts them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from denseam.errors import InputError
from denseam.showing import Shown


@dataclass(frozen=True)
class Separation:
    """The separation of junk from clean images, by scores that are higher for junk."""

    auroc: float  # a junk image scores higher than a clean one; ties count half
    aupr: float  # average precision, junk positive; its floor is the share of junk
    fpr_at_95: float  # of clean images rejected where 95 % of junk is


@dataclass(frozen=True, repr=False)
class CoverageRisk(Shown):
    """Error among the accepted images, as more and more of them are accepted.

    Attributes:
        coverage: (M,) shares of images accepted, from 1 / M to 1.
        risk: (M,) errors among them.
        area: under the curve, the mean of the risks.
    """

    coverage: Tensor
    risk: Tensor

    @property
    def area(self) -> float:
        return float(self.risk.mean())


def separation(clean: Tensor, junk: Tensor) -> Separation:
    """Return AUROC, AUPR and FPR at 95 % TPR.

    Args:
        clean: (M,) scores; may be infinite, not NaN.
        junk: (J,) scores.

    Raises:
        InputError: when one of the two is empty or holds NaN.
    """
    scores = torch.cat([_checked(clean, "clean"), _checked(junk, "junk")])
    positive = torch.cat([torch.zeros(len(clean)), torch.ones(len(junk))]).double()
    values, place = torch.unique(scores, return_inverse=True)  # rising
    hits = torch.zeros(len(values), dtype=torch.float64).index_add_(0, place, positive)
    alarms = torch.zeros_like(hits).index_add_(0, place, 1 - positive)
    # From the highest threshold down:
    caught, false = hits.flip(0).cumsum(0), alarms.flip(0).cumsum(0)
    recall, fpr = caught / len(junk), false / len(clean)
    before = torch.nn.functional.pad(recall, (1, 0))[:-1]
    auroc = float((alarms.flip(0) / len(clean) * (recall + before) / 2).sum())
    aupr = float(((recall - before) * caught / (caught + false)).sum())
    at_95 = float(fpr[(recall >= 0.95 * (1 - 1e-12)).nonzero()[0, 0]])
    return Separation(auroc, aupr, at_95)


def coverage_risk(scores: Tensor, wrong: Tensor) -> CoverageRisk:
    """Return the curve of images accepted from the lowest score on; ties share their mean error.

    Args:
        scores: (M,).
        wrong: (M,) bool.

    Raises:
        InputError: when they are empty or do not fit each other.
    """
    _checked(scores, "scores")
    if wrong.shape != scores.shape or wrong.dtype != torch.bool:
        raise InputError(f"wrong is {tuple(wrong.shape)} {wrong.dtype}: wanted one bool a score")
    values, place, counts = torch.unique(scores, return_inverse=True, return_counts=True)
    errors = torch.zeros(len(values), dtype=torch.float64).index_add_(0, place, wrong.double())
    each = (errors / counts).repeat_interleave(counts)
    numbers = torch.arange(1, len(scores) + 1, dtype=torch.float64)
    return CoverageRisk(numbers / len(scores), each.cumsum(0) / numbers)


def _checked(scores: Tensor, what: str) -> Tensor:
    if scores.ndim != 1 or not len(scores) or bool(scores.isnan().any()):
        raise InputError(f"{what}: wanted scores (M,), M >= 1 and none NaN, got {scores.shape}")
    return scores.double()

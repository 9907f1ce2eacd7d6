"""Distances of images from the clean ones of their class, in a few numbers about each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

_COUNT = 20  # images that all classes together weigh in a class's covariance
_FLOOR = 1e-8  # of the variances, relative: where two numbers say the same


@dataclass(frozen=True)
class Profile:
    """Mahalanobis distances, sqrt((f - m_c)' S_c^-1 (f - m_c)), class by class.

    The covariance of a class with M images is (M S_c + 20 S) / (M + 20), S being that around all
    class means; a class without images has the mean of all, and their covariance.

    Attributes:
        means: (C, F) float64.
        whiteners: (C, F, F) float64: W with W' W = S_c^-1.
    """

    means: Tensor
    whiteners: Tensor

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, n_classes: int) -> Self:
        """Fit to clean images: features (M, F) float64, labels (M,)."""
        means = features.mean(dim=0).repeat(n_classes, 1)
        for c in torch.unique(labels).tolist():
            means[c] = features[labels == c].mean(dim=0)
        apart = features - means[labels]
        whole, tied = _covariance(features - features.mean(dim=0)), _covariance(apart)
        whiteners = []
        for c in range(n_classes):
            members = apart[labels == c]
            blend = (members.T @ members + _COUNT * tied) / (len(members) + _COUNT)
            blend = blend if len(members) else whole
            whiteners.append(_whitener(blend))
        return cls(means, torch.stack(whiteners))

    def __call__(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return distances (B,) of features (B, F) float64 with labels (B,)."""
        means, whiteners = self.means.to(features.device), self.whiteners.to(features.device)
        apart = (features - means[labels])[:, None, :]
        squared = (whiteners[labels] * apart).sum(dim=2).square().sum(dim=1)
        return (squared + torch.finfo(torch.float64).tiny).sqrt()  # a slope also at the mean

    def tensors(self) -> dict[str, Tensor]:
        """Return what is saved."""
        return {"means": self.means, "whiteners": self.whiteners}

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Return the profile that was saved."""
        return cls(tensors["means"], tensors["whiteners"])


def _covariance(apart: Tensor) -> Tensor:
    return apart.T @ apart / max(1, len(apart))


def _whitener(covariance: Tensor) -> Tensor:
    """Return W (F, F) with W' W the inverse, whatever the units of the features."""
    scale = covariance.diagonal().clamp(min=torch.finfo(torch.float64).tiny).sqrt()
    correlation = covariance / torch.outer(scale, scale)
    values, vectors = torch.linalg.eigh(correlation)
    white: Tensor = (vectors / values.clamp(min=_FLOOR).sqrt()).T / scale
    return white

"""Well-known detectors of junk, to compare with: each a ``score(visible)`` for a `Guard`.

    softmax       1 - max softmax               Hendrycks and Gimpel 2017
    energy        -log sum exp logits           Liu et al. 2020
    mahalanobis   least class distance          Lee et al. 2018: one covariance for all classes
    neighbours    k-th nearest neighbour        Sun et al. 2022: of features of length 1

Features are the hidden units of the classifier, relu(overlap / T), (B, K).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from denseam.checks import whole
from denseam.classifier import Classifier
from denseam.data.validate import check_labels
from denseam.image_classifier import logit_scale
from denseam.precision import in_full_precision

_CHUNK = 1000


@in_full_precision
def features(network: Classifier, visible: Tensor) -> Tensor:
    """Return hidden units (B, K) float32 of images (B, N) in [-1, 1]."""
    with torch.no_grad():
        memories = network.memories
        seen = (network.visible(part.to(memories)) for part in torch.split(visible, _CHUNK))
        parts = [
            torch.relu(each @ network.visible_memories.T / network.temperature).cpu()
            for each in seen
        ]
    return torch.cat(parts)


class _OfLogits:
    """A score of a network's logits, scaled so that their softmax is of use on clean images."""

    def __init__(self, network: Classifier, visible: Tensor, labels: Tensor) -> None:
        self.network, self.n_visible = network, network.n_inputs
        self.scale = logit_scale(self._scores(visible))

    def _scores(self, visible: Tensor) -> Tensor:
        with torch.no_grad():
            parts = torch.split(visible.to(self.network.memories), _CHUNK)
            return torch.cat([self.network.exact_scores(part) for part in parts])


class MaxSoftmax(_OfLogits):
    """Maximum softmax probability, as log(1 - max), which does not saturate."""

    @in_full_precision
    def score(self, visible: Tensor) -> Tensor:
        """Return scores (B,) of images (B, N)."""
        logs = torch.log_softmax(self.scale * self._scores(visible), dim=1)
        return logs.scatter(1, logs.argmax(dim=1, keepdim=True), -torch.inf).logsumexp(dim=1)


class Energy(_OfLogits):
    """Energy score at temperature 1."""

    @in_full_precision
    def score(self, visible: Tensor) -> Tensor:
        """Return scores (B,) of images (B, N)."""
        return -torch.logsumexp(self.scale * self._scores(visible), dim=1)


class Mahalanobis:
    """Least Mahalanobis distance to the mean of a class, in features."""

    def __init__(self, network: Classifier, visible: Tensor, labels: Tensor) -> None:
        check_labels(labels, network.n_classes, len(visible))
        self.network, self.n_visible = network, network.n_inputs
        hidden = features(network, visible).double()
        present: Tensor = torch.unique(labels)
        means = torch.stack([hidden[labels == c].mean(dim=0) for c in present.tolist()])
        apart = hidden - means[torch.searchsorted(present, labels)]
        covariance = apart.T @ apart / len(apart)
        # Units that never answer have no variance: a floor instead of a pseudo-inverse.
        covariance.diagonal().add_(1e-3 * float(covariance.diagonal().mean()))
        self.factor = torch.linalg.cholesky(covariance)
        self.white_means = self._white(means)

    @in_full_precision
    def score(self, visible: Tensor) -> Tensor:
        """Return squared distances (B,) of images (B, N)."""
        hidden = features(self.network, visible).double()
        return torch.cdist(self._white(hidden), self.white_means).square().amin(dim=1)

    def _white(self, hidden: Tensor) -> Tensor:
        white: Tensor = torch.linalg.solve_triangular(self.factor, hidden.T, upper=False)
        return white.T


class NearestNeighbours:
    """Distance to the k-th nearest of the clean features."""

    def __init__(self, network: Classifier, visible: Tensor, labels: Tensor, k: int = 10) -> None:
        self.network, self.n_visible = network, network.n_inputs
        self.k = whole("k", k, 1, len(visible))
        self.bank = self._features(visible)

    @in_full_precision
    def score(self, visible: Tensor) -> Tensor:
        """Return L2 distances (B,) between features of length 1, of images (B, N)."""
        hidden = self._features(visible)
        nearest = (hidden @ self.bank.T).topk(self.k, dim=1).values[:, -1]
        apart: Tensor = (2 - 2 * nearest.double()).clamp(min=0)
        return apart.sqrt()

    def _features(self, visible: Tensor) -> Tensor:
        return torch.nn.functional.normalize(features(self.network, visible), dim=1)


KNOWN: dict[str, Callable[[Classifier, Tensor, Tensor], object]] = {
    "maximum softmax": MaxSoftmax,
    "energy score": Energy,
    "Mahalanobis": Mahalanobis,
    "nearest neighbours": NearestNeighbours,
}
"""By name; made from a classifier, and from clean images (M, N) in [-1, 1] with labels (M,)."""

"""ReLU and polynomial networks: a Lipschitz bound of the difference of two classes.

    gap_y - gap_c = (2 n / T) sum_mu (xi_y - xi_c) F_(n-1)(A_mu v / T)

moves by at most sum_mu |xi_y - xi_c| s_mu ||A_mu||_* r, where s_mu is the largest slope of neuron
mu on the box; for a ReLU network in L2 also by || xi_y - xi_c ||_2 ||A||_2 r. Here to compare with:
the bound is its own proof, with sums rounded outward as in ``verifier``.
"""

import math
from typing import Any

import numpy as np
import torch

from denseam.baselines import PolynomialNetwork
from denseam.certificates.fields import Array, array, rounding

__all__ = ["NetworkVerifier"]

U = 2.0**-52


class NetworkVerifier:
    """A check of radii of a network, called as ``Verifier`` is."""

    def __init__(self, model: PolynomialNetwork, norm: str) -> None:
        self.A, self.votes = array(model.visible_memories), array(model.class_memories)
        T, self.p = model.temperature, model.power - 1
        self.T, self.factor = T, 2 * model.power / T
        unit = torch.finfo(model.memories.dtype).eps / 2
        K, N = self.A.shape
        self.mass = np.abs(self.A).sum(axis=1) / T * (1 + (N + 8) * U)
        self.lengths = np.sqrt((self.A**2).sum(axis=1)) / T if norm == "l2" else self.mass
        self.lengths = self.lengths * (1 + (N + 8) * U)
        slopes = self.p * self.mass ** max(self.p - 1, 0)  # on the box an overlap is at most that
        self.steps = slopes * self.lengths * (1 + 1e-12)
        self.spectral = math.inf
        if norm == "l2" and self.p == 1:
            self.spectral = float(np.linalg.norm(self.A, "fro")) / T
            square = self.A.T @ self.A
            fourth = float(np.sqrt(np.linalg.norm(square @ square, "fro"))) ** 0.5
            self.spectral = min(self.spectral, fourth / T) * (1 + 1e-9)
        self.unit, self.terms = unit, (N + 8, K + 4 * math.ceil(self.p) + 16)

    def __call__(self, visible: Array, labels: Any, proofs: list[dict[str, Any]]) -> list[bool]:
        """Return for each image (B, N) of a class (B,) whether its radius holds."""
        radii = [proof["radius"] for proof in proofs]
        proven = self.radii(visible, np.asarray(labels))
        return [0 <= r <= most for r, most in zip(radii, proven.tolist(), strict=True)]

    def radii(self, visible: Array, labels: Array) -> Array:
        """Return radii of images (B, N), (B,); at most 0 where another class has more."""
        overlaps = np.maximum(visible @ self.A.T / self.T, 0)  # (B, K)
        gaps = self.factor * (overlaps**self.p @ self.votes)  # (B, C)
        exact = self._radii(gaps, np.zeros_like(gaps), labels)
        far = overlaps + np.clip(exact, 0, 1e6)[:, None] * self.lengths
        return self._radii(gaps, self._errors(np.minimum(far, self.mass)), labels)

    def _errors(self, far: Array) -> Array:
        """Return what float32 may add to a gap, (B, C), where overlaps are at most far (B, K)."""
        first, second = (rounding(self.unit, terms) for terms in self.terms)
        off = (far + first * self.mass) ** self.p * (1 + second) - far**self.p
        room = 1.01 if self.unit > U else 3  # float64 is not checked by anything finer
        errors: Array = room * self.factor * ((off + second * far**self.p) @ np.abs(self.votes))
        return errors

    def _radii(self, gaps: Array, errors: Array, labels: Array) -> Array:
        rows, result = np.arange(len(labels)), np.full(len(labels), math.inf)
        for c in range(self.votes.shape[1]):
            apart = np.abs(self.votes[:, labels] - self.votes[:, [c]]).T  # (B, K)
            most = apart @ self.steps
            if math.isfinite(self.spectral):
                most = np.minimum(most, np.sqrt((apart**2).sum(axis=1)) * self.spectral)
            lead = gaps[rows, labels] - gaps[:, c] - errors[rows, labels] - errors[:, c]
            radii = lead / np.maximum(self.factor * most * (1 + 1e-9), 1e-300)
            result = np.where(labels == c, result, np.minimum(result, radii))
        return np.asarray(result)

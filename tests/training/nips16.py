"""The training procedure of NIPS16, appendix A, with its own matrices, in NumPy and float64.

One column per image *and* class, of all N + C neurons: M*C of them. In the all-off matrix every
class neuron is at -1; in the one-on matrix the neuron of the column's class is at +1. Nothing of
denseam is used here.
"""

import numpy as np


def matrices(v, labels, n_classes):
    """The all-off and the one-on matrix, (N + C, M*C), and the targets (M*C,)."""
    n_images, n_visible = v.shape
    all_off = -np.ones((n_visible + n_classes, n_images * n_classes))
    target = np.empty(n_images * n_classes)
    for a in range(n_images):
        for alpha in range(n_classes):
            all_off[:n_visible, a * n_classes + alpha] = v[a]
            target[a * n_classes + alpha] = 1 if labels[a] == alpha else -1
    one_on = all_off.copy()
    for a in range(n_images):
        for alpha in range(n_classes):
            one_on[n_visible + alpha, a * n_classes + alpha] = 1
    return all_off, one_on, target


def gradient(v, labels, xi, n_classes, n, m, T):
    """dC/dxi, (K, N + C), and C, Eq. 2.3."""
    all_off, one_on, target = matrices(v, labels, n_classes)
    beta = 1 / T**n
    on, off = np.maximum(xi @ one_on, 0), np.maximum(xi @ all_off, 0)  # (K, M*C)
    Y = np.tanh(beta * (on**n - off**n).sum(axis=0))
    slope = 2 * m * (Y - target) ** (2 * m - 1) * (1 - Y**2) * beta  # (M*C,)
    F_on, F_off = n * on ** (n - 1), n * off ** (n - 1)  # F_n'
    return (F_on * slope) @ one_on.T - (F_off * slope) @ all_off.T, ((Y - target) ** (2 * m)).sum()


class Rule:
    """V <- p V - dC/dxi * (T / T_final)^n;  xi <- clip(xi + eps V / max_I |V_I|, -1, 1)."""

    def __init__(self, xi, p, T_final, n):
        self.xi, self.V, self.p, self.T_final, self.n = xi.copy(), np.zeros_like(xi), p, T_final, n
        self.clipped = 0

    def step(self, slope, eps, T):
        self.V = self.p * self.V - slope * (T / self.T_final) ** self.n
        largest = np.abs(self.V).max(axis=1, keepdims=True)
        moved = self.xi + eps * self.V / np.where(largest > 0, largest, 1)
        self.clipped += int((np.abs(moved) > 1).sum())
        self.xi = np.clip(moved, -1, 1)

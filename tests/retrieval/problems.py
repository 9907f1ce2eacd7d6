"""Energies in every domain, with the plainest formula of each."""

import torch

from denseam.energies import Entmax, Exponential, LogSumReLU, Polynomial, RectifiedPolynomial

SUMMED = [RectifiedPolynomial(2), RectifiedPolynomial(7), RectifiedPolynomial(2.5), Polynomial(2),
          Polynomial(3), Exponential(0.3, 2.0)]  # fmt: skip
SPACE = [Exponential(0.7), RectifiedPolynomial(5), Polynomial(4), LogSumReLU(0.15), Entmax(0.4),
         Entmax(0.3, 2.0), Entmax(0.02, 1.25)]  # fmt: skip


def signs(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, shape, generator=generator).double() * 2 - 1


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive_energy(F, domain, patterns, states):
    """The energy with an array of (B, K), in float64, up to its constant."""
    h = states @ patterns.T
    half = states.square().sum(dim=1) / 2
    if domain != "space":
        return -F.value(h).sum(dim=1)
    if isinstance(F, Exponential):
        return -torch.logsumexp(F.beta * h, dim=1) / F.beta + half
    if isinstance(F, LogSumReLU):
        squares = torch.cdist(states, patterns).square()
        return -(1 - F.beta * squares / 2).clamp(min=0).sum(dim=1).log() / F.beta
    if isinstance(F, Entmax):
        p = F.weights(h)
        tsallis = (p.pow(F.alpha).sum(dim=1) - 1) / (F.alpha * (F.alpha - 1))
        return -((p * F.beta * h).sum(dim=1) - tsallis) / F.beta + half
    return -(F.value(h).sum(dim=1) ** (1 / F.power)) + half

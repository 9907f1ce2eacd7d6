"""Energies of the visible neurons: what an F of the house means for a state, and its closed form.

With overlaps h_mu = xi^mu . v of K memories with a state v:

    binary  v in {-1, +1}^N   E = -sum_mu F(h_mu)                           (NIPS16, Eq. 1)
    box     v in [-1, 1]^N    the same; where F is convex, minima lie at the corners
    space   v in R^N          E = -Psi(h) + |v|^2 / 2 + constant

    F                     Psi                          closed-form update v <- sum_mu p_mu xi^mu
    Exponential(beta)     log sum exp(beta h) / beta   p = softmax(beta h)      (arXiv 2008.02217)
    RectifiedPolynomial,  (sum_mu F(h_mu))^(1/n)       p = (h_mu / Psi)^(n-1), normalised powers
    even Polynomial
    Entmax(beta, alpha)   Omega*(beta h) / beta        p = entmax(beta h)       (arXiv 2402.13725)
    LogSumReLU(beta)      E = -log sum_mu max(0, 1 - beta |v - xi^mu|^2 / 2) / beta:
                          p = 1 / M for the M memories within reach             (arXiv 2506.10801)

Each Psi is convex, so replacing it by its tangent bounds E from above, and the update minimises
that bound: it never raises the energy (the concave-convex procedure). In box and binary the update
is the sign of sum_mu F'(h_mu) xi^mu, by the same argument, for a convex F.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from denseam.energies import (
    EnergyFunction,
    Entmax,
    Exponential,
    Homogeneous,
    LogSumReLU,
    RectifiedPolynomial,
)
from denseam.errors import InputError
from denseam.kernels import Gathered
from denseam.retrieval.gathering import gather, kernel_for
from denseam.retrieval.patterns import Patterns

__all__ = ["Domain", "EnergyParts", "Landscape", "View", "landscape_of"]

Domain = Literal["binary", "box", "space"]

_MOST = torch.finfo(torch.float64).max
_LINEAR = RectifiedPolynomial(1)
_SPARSE = 2**24  # scores within reach of an entmax that are held at once


class EnergyParts(NamedTuple):
    """The terms of an energy, (B,) float64 each; E is their sum."""

    memories: Tensor  # -sum F, or -Psi
    state: Tensor  # |v|^2 / 2, or 0
    constant: Tensor  # so that a stored pattern that stands apart has about 0; or 0

    @property
    def energy(self) -> Tensor:
        """E, (B,) float64."""
        return self.memories + self.state + self.constant


class View(NamedTuple):
    """What a landscape shows at B states."""

    parts: EnergyParts
    target: Tensor | None = None  # (B, D): the closed-form update
    direction: Tensor | None = None  # (B, D): downhill; its largest component 1 in a box
    active: Tensor | None = None  # (B,) bool: some memory acts


@dataclass(frozen=True)
class Landscape(ABC):
    """The energy of states over stored patterns; subclasses say which."""

    patterns: Patterns
    F: EnergyFunction
    constant: float = 0.0
    centre: Tensor | None = None  # (D,): overlaps are (xi - centre) . (v - centre)

    @abstractmethod
    def view(self, states: Tensor, *, target: bool = True) -> View:
        """Return energies, and with ``target`` the way down, of states (B, D)."""

    def _gather(self, states: Tensor, *, pull: bool) -> Gathered:
        """Gather over fields of centred overlaps; the pull is of centred memories."""
        if self.centre is None:
            return gather(self.patterns, states, self.F, pull=pull)
        centre = self.centre.to(states.dtype)
        moved = states - centre
        sums = gather(self.patterns, moved, self.F, drop=moved @ centre, pull=pull)
        if sums.pull is None:
            return sums
        pull_of_centred = sums.pull - sums.slopes[:, None].to(states.dtype) * centre
        return Gathered(sums.scale, sums.total, sums.slopes, pull_of_centred)

    def _parts(self, memories: Tensor, states: Tensor, *, quadratic: bool) -> EnergyParts:
        memories = memories.double()
        zeros = torch.zeros_like(memories)
        if not quadratic:
            return EnergyParts(memories, zeros, zeros)
        moved = states.double() if self.centre is None else states.double() - self.centre
        half = moved.square().sum(dim=1) / 2
        return EnergyParts(memories, half, torch.full_like(memories, self.constant))


class Summed(Landscape):
    """E = -sum_mu F(h_mu), in a box or at its corners."""

    def view(self, states: Tensor, *, target: bool = True) -> View:
        sums = self._gather(states, pull=target)
        value = self.F.value(sums.scale.double()).clamp(-_MOST, _MOST)
        parts = self._parts((-value * sums.total).clamp(-_MOST, _MOST), states, quadratic=False)
        if sums.pull is None:
            return View(parts)
        sign = torch.where(sums.pull == 0, states, sums.pull.sign())
        size = sums.pull.abs().amax(dim=1, keepdim=True)
        active = size[:, 0] > 0
        direction = sums.pull / torch.where(size > 0, size, 1)
        return View(parts, sign, direction, active)


class Smooth(Landscape):
    """E = -Psi(h) + |v|^2 / 2 + constant in the whole space, for exponentials and powers."""

    def view(self, states: Tensor, *, target: bool = True) -> View:
        sums = self._gather(states, pull=target)
        total, F = sums.total, self.F
        if isinstance(F, Exponential):
            psi = sums.scale.double() - F.at + total.log() / F.beta
            shrink = total
        else:
            psi = sums.scale.double() * total ** (1 / F.power)
            shrink = total ** ((F.power - 1) / F.power)
        parts = self._parts(-psi, states, quadratic=True)
        if sums.pull is None:
            return View(parts)
        active = total > 0
        shrink = torch.where(active, shrink, 1)[:, None]
        point = sums.pull / shrink.to(states.dtype)
        point = point if self.centre is None else point + self.centre.to(states.dtype)
        return View(parts, point, point - states, active)


@dataclass(frozen=True)
class Balls(Landscape):
    """The log-sum-ReLU: memories act within a radius, all of them alike."""

    half_squares: Tensor = field(kw_only=True)  # (K,) |xi|^2 / 2

    def view(self, states: Tensor, *, target: bool = True) -> View:
        beta = float(self.F.parameters[0])
        # max(0, x) of x = 1 - beta |v - xi|^2 / 2 is F_1, and its slope is 1 within the radius.
        sums = gather(
            self.patterns, states, _LINEAR, factor=beta, pull=target,
            drop=beta / 2 * states.square().sum(dim=1) - 1,
            offsets=(beta * self.half_squares).to(states.dtype),
        )  # fmt: skip
        total = sums.scale.double() * sums.total
        parts = self._parts(-total.log() / beta, states, quadratic=False)
        if sums.pull is None:
            return View(parts)
        active = total > 0
        point = sums.pull / sums.slopes.clamp(min=1)[:, None].to(states.dtype)
        point = torch.where(active[:, None], point, states)
        return View(parts, point, point - states, active)


@dataclass(frozen=True)
class Sparse(Landscape):
    """The energy of Fenchel and Young whose update is entmax."""

    rule: Entmax = field(kw_only=True)

    def view(self, states: Tensor, *, target: bool = True) -> View:
        rule = self.rule
        factor = (rule.alpha - 1) * rule.beta
        near = None if self.patterns.axis else self._within_reach(states, factor)
        if near is None:
            return self._dense(states, factor, target=target)
        memories, images, scores, top = near
        offsets = scores.double() - top[images].double()
        tau = rule.threshold(offsets, images, len(states))
        p = (offsets - tau[images]).clamp(min=0) ** (1 / (rule.alpha - 1))
        powers = torch.zeros_like(tau).index_add_(0, images, p**rule.alpha)
        psi = rule.largest(powers, tau + top.double()) / rule.beta
        parts = self._parts(-psi, states, quadratic=True)
        if not target:
            return View(parts)
        support = p > 0
        point = _weighted(
            self.patterns, memories[support], images[support], p[support].to(states.dtype),
            states.new_zeros(states.shape),
        )  # fmt: skip
        return View(parts, point, point - states, torch.ones_like(tau, dtype=torch.bool))

    def _within_reach(
        self, states: Tensor, factor: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """Return memories, states and scores (L,) that are less than 1 below the top, (B,).

        None where they are too many to be held.
        """
        kernel = kernel_for(states)
        top = states.new_full((len(states),), -torch.inf)
        kept: list[tuple[Tensor, Tensor, Tensor]] = []
        count = 0
        for start, rows in self.patterns.blocks():
            scores = kernel.overlaps(states, rows).mul_(factor)
            top = torch.maximum(top, scores.amax(dim=0))
            memories, images = (scores > top - 1).nonzero(as_tuple=True)
            kept.append((memories + start, images, scores[memories, images]))
            count += len(images)
            if count > _SPARSE:
                return None
        memories, images, scores = (torch.cat(column) for column in zip(*kept, strict=True))
        inside = scores > top[images] - 1
        return memories[inside], images[inside], scores[inside], top

    def _dense(self, states: Tensor, factor: float, *, target: bool) -> View:
        """The same by passes over all memories, where nearly all of them are in the support.

        p = [x]_+^(1 / (alpha - 1)) is the slope of a rectified polynomial of x = score - tau.
        """
        rule = self.rule
        inner = 1 / (rule.alpha - 1)
        F = RectifiedPolynomial(inner + 1)
        largest = gather(self.patterns, states, Exponential(1.0), factor=factor, pull=False).scale
        tau = largest.double() - 1
        for _ in range(60):
            sums = self._sums(states, RectifiedPolynomial(inner), factor, tau)
            scale = sums.scale.double()
            total = scale**inner * sums.total
            step = (total - 1) / (inner * scale ** (inner - 1) * sums.slopes)
            tau = tau + step
            if bool((step.abs() <= torch.finfo(states.dtype).eps).all()):
                break
        sums = self._sums(states, F, factor, tau, pull=target)
        scale = sums.scale.double()
        psi = rule.largest(scale ** (inner + 1) * sums.total, tau) / rule.beta
        parts = self._parts(-psi, states, quadratic=True)
        if sums.pull is None:
            return View(parts)
        point = sums.pull * (scale**inner)[:, None].to(states.dtype)
        return View(parts, point, point - states, torch.ones_like(tau, dtype=torch.bool))

    def _sums(
        self, states: Tensor, F: EnergyFunction, factor: float, tau: Tensor, *, pull: bool = False
    ) -> Gathered:
        drop = tau.to(states.dtype)
        return gather(self.patterns, states, F, factor=factor, drop=drop, pull=pull)


def _weighted(
    patterns: Patterns, memories: Tensor, images: Tensor, p: Tensor, out: Tensor
) -> Tensor:
    """Return sum_mu p_mu xi^mu of few weights: positions and weights are (L,), out is (B, D)."""
    for start in range(0, len(p), 4096):
        piece = slice(start, start + 4096)
        rows = patterns.take(memories[piece]) * p[piece, None]
        out.index_add_(0, images[piece], rows)
    return out


def landscape_of(
    patterns: Patterns,
    energy: EnergyFunction | Entmax,
    domain: Domain,
    half_squares: Tensor,  # (K,) |xi|^2 / 2
    centre: Tensor | None,
) -> Landscape:
    """Return the energy of states in a domain.

    Raises:
        InputError: for an energy that has none there.
    """
    K = len(patterns)
    most = float(_half_squares_about(patterns, half_squares, centre).max())
    if domain != "space":
        if isinstance(energy, Entmax | LogSumReLU):
            raise InputError(f"{energy.name} has no energy in domain {domain!r}: wanted 'space'")
        return Summed(patterns, energy, centre=centre)
    if isinstance(energy, Entmax):
        constant = energy.entropy_of(K) / energy.beta + most
        return Sparse(patterns, RectifiedPolynomial(2), constant, rule=energy)
    if isinstance(energy, LogSumReLU):
        return Balls(patterns, energy, half_squares=half_squares)
    if isinstance(energy, Exponential):
        return Smooth(patterns, energy, math.log(K) / energy.beta + most, centre)
    if isinstance(energy, Homogeneous) and _never_negative(energy):
        return Smooth(patterns, energy, most, centre)
    raise InputError(f"{energy} has no energy in the whole space: wanted domain 'binary' or 'box'")


def _never_negative(F: EnergyFunction) -> bool:
    x = torch.tensor([-1.0, -0.5], dtype=torch.float64)
    return bool((F.value(x) >= 0).all()) and F.power >= 1


def _half_squares_about(patterns: Patterns, half_squares: Tensor, centre: Tensor | None) -> Tensor:
    """Return |xi - centre|^2 / 2, (K,) float64."""
    if centre is None:
        return half_squares
    along = [rows.double() @ centre for _, rows in patterns.blocks()]
    return half_squares - torch.cat(along) + centre.square().sum() / 2

"""Scores of a detector, higher for more junk.

Y is the class activity, L the log-energy; 1 and 2 are the largest and second largest class.

    activity     log(1 - Y_1)
    confidence   log(1 - Z), Z = max_a softmax_a(beta_sm Y_a)
    gap          log(2 - (Y_1 - Y_2))
    margin       L_2 - L_1
    log_energy   |L_1 - median|, each side on its own scale: too little energy, or too much
    distance     |v - xi| of the memory with the largest term in the energy of class 1
    pixels       how far mean, mean square and roughness of the pixels are from those of clean
                 images of class 1
    profile      the same, of these three, L_1 and the gap together

Logarithms keep apart what saturates: they come from the argument of tanh and never reach 0.
"How far" is a Mahalanobis distance, see ``profile``.

Names joined by "+" stand for the largest of them, each brought to one scale first:

    s' = (s - m) / (h - m)                   s >= m, and for one-sided scores below m as well
    s' = (m - s) / (m - l)                   s < m, two-sided

m being the median of clean reference images, l and h the quantiles beyond which the rate that is
to be rejected lies, shared alike among all tails. The reference images are others than those that
the threshold is taken from, so that the promise of ``conformal`` holds for the one score that
comes out.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from denseam.analysis.confidence import BETA_SM
from denseam.checks import number
from denseam.errors import InputError
from denseam.guard.evidence import Evidence
from denseam.guard.profile import Profile

DEFAULT_SCORE = "profile"
"""The score of a guard by default."""

_LEAST_GAP = -40.0  # log(2 - gap) of a gap that float64 cannot tell from 2
_LEAST_ENERGY = -1e6  # of a class without active memory, where only another one is needed


def _activity(evidence: Evidence, _: float) -> Tensor:
    return logsigmoid(-2 * evidence.energy_gap.amax(dim=1))


def _confidence(evidence: Evidence, beta_sm: float) -> Tensor:
    shares = torch.log_softmax(beta_sm * torch.tanh(evidence.energy_gap), dim=1)
    return torch.logsumexp(shares.scatter(1, evidence.labels[:, None], -torch.inf), dim=1)


def _gap(evidence: Evidence, _: float) -> Tensor:
    best = evidence.energy_gap.topk(2, dim=1).values
    # 2 - (tanh a - tanh b) = 2 sigmoid(-2a) + 2 sigmoid(2b)
    return torch.logaddexp(logsigmoid(-2 * best[:, 0]), logsigmoid(2 * best[:, 1]))


def _margin(evidence: Evidence, _: float) -> Tensor:
    best = evidence.log_energy.clamp(min=_LEAST_ENERGY).topk(2, dim=1).values
    return best[:, 1] - best[:, 0]


def _log_energy(evidence: Evidence, _: float) -> Tensor:
    return evidence.log_energy.amax(dim=1)


def _distance(evidence: Evidence, _: float) -> Tensor:
    return evidence.distance


def _pixels(evidence: Evidence) -> Tensor:
    return evidence.pixels


def _profile(evidence: Evidence) -> Tensor:
    energy = evidence.log_energy.amax(dim=1).clamp(min=_LEAST_ENERGY)
    gap = _gap(evidence, 0.0).clamp(min=_LEAST_GAP)
    return torch.cat([evidence.pixels, energy[:, None], gap[:, None]], dim=1)


_PLAIN: dict[str, Callable[[Evidence, float], Tensor]] = {
    "activity": _activity,
    "confidence": _confidence,
    "gap": _gap,
    "margin": _margin,
    "log_energy": _log_energy,
    "distance": _distance,
}
_PROFILES: dict[str, Callable[[Evidence], Tensor]] = {"pixels": _pixels, "profile": _profile}
_TWO_SIDED = ("log_energy",)
SCORES: tuple[str, ...] = (*_PLAIN, *_PROFILES)
"""The names of all scores, as a guard takes them; several are joined by "+"."""


@dataclass(frozen=True)
class Scale:
    """The scale of one raw score, on which clean images lie between 0 and 1."""

    low: float
    median: float
    high: float
    two_sided: bool

    @classmethod
    def of(cls, raw: Tensor, tail: float, *, two_sided: bool) -> "Scale":
        """Fit to raw scores (M,) of clean reference images, of which ``tail`` lie beyond each end.

        Raises:
            InputError: when none of them is finite.
        """
        usable = raw[raw.isfinite()]
        if not len(usable):
            raise InputError("no clean image has a finite score: is it the right detector?")
        cuts = torch.tensor([tail, 0.5, 1 - tail], dtype=torch.float64)
        low, median, high = torch.quantile(usable.double(), cuts).tolist()
        least = 1e-9 * (1 + abs(median))  # clean images that all score the same
        return cls(min(low, median - least), median, max(high, median + least), two_sided)

    def __call__(self, raw: Tensor) -> Tensor:
        """Return scores scaled to 0 at the median of clean images, 1 where the tail begins."""
        above = (raw - self.median) / (self.high - self.median)
        if not self.two_sided:
            return above
        return torch.maximum(above, (self.median - raw) / (self.median - self.low))


class Score:
    """One of SCORES, or several joined by "+".

    Args:
        name: which.
        beta_sm: of Z, > 0.

    Raises:
        InputError: for another name, the same one twice, or beta_sm <= 0.
    """

    def __init__(self, name: str, beta_sm: float = BETA_SM) -> None:
        self.parts = tuple(str(name).split("+"))
        if not set(self.parts) <= set(SCORES) or len(set(self.parts)) < len(self.parts):
            raise InputError(f"score = {name!r}: wanted {', '.join(SCORES)}, or some joined by '+'")
        self.name, self.beta_sm = name, number("beta_sm", beta_sm, above=0)
        self.scales: dict[str, Scale] = {}
        self.profiles: dict[str, Profile] = {}

    @property
    def scaled(self) -> bool:
        """Whether parts are brought to one scale."""
        return len(self.parts) > 1 or self.parts[0] in _TWO_SIDED

    @property
    def needs_reference(self) -> bool:
        """Whether it has to be fitted to clean images first."""
        return self.scaled or self.parts[0] in _PROFILES

    def fit(self, evidence: Evidence, target_rejection: float) -> None:
        """Take profiles and scales from clean reference images."""
        usable = evidence.active
        labels, n_classes = evidence.labels[usable], evidence.log_energy.shape[1]
        for part in set(self.parts) & set(_PROFILES):
            features = _PROFILES[part](evidence)[usable]
            self.profiles[part] = Profile.of(features, labels, n_classes)
        tails = sum(2 if part in _TWO_SIDED else 1 for part in self.parts)
        tail = min(target_rejection / tails, 0.25)
        if self.scaled:
            self.scales = {
                part: Scale.of(raw, tail, two_sided=part in _TWO_SIDED)
                for part, raw in self.raw(evidence).items()
            }

    def raw(self, evidence: Evidence) -> dict[str, Tensor]:
        """Return each part by its name, (B,) float64."""
        return {
            part: _PLAIN[part](evidence, self.beta_sm)
            if part in _PLAIN
            else self.profiles[part](_PROFILES[part](evidence), evidence.labels)
            for part in self.parts
        }

    def __call__(self, evidence: Evidence) -> Tensor:
        """Return scores (B,) float64, higher for more junk; infinite where no memory is active."""
        raw = self.raw(evidence)
        if self.scaled:
            raw = {part: self.scales[part](values) for part, values in raw.items()}
        first, *others = raw.values()
        score = torch.stack([first, *others]).amax(dim=0) if others else first
        return torch.where(evidence.active & ~score.isnan(), score, torch.inf)

    def tensors(self) -> dict[str, Tensor]:
        """Return what is saved of it as tensors."""
        return {
            f"{part}.{name}": value
            for part, profile in self.profiles.items()
            for name, value in profile.tensors().items()
        }

    def settings(self) -> dict[str, Any]:
        """Return the rest of what is saved, as plain JSON values."""
        scales = {part: asdict(scale) for part, scale in self.scales.items()}
        return {"name": self.name, "beta_sm": self.beta_sm, "scales": scales}

    def restore(self, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take up what ``fit`` had found.

        Raises:
            KeyError, TypeError: when it is not whole.
        """
        self.scales = {part: Scale(**scale) for part, scale in settings["scales"].items()}
        if not tensors:
            return
        for part in set(self.parts) & set(_PROFILES):
            inside = {name: tensors[f"{part}.{name}"] for name in ("means", "whiteners")}
            self.profiles[part] = Profile.restore(inside)

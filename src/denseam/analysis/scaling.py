"""Ordinary temperature scaling (Guo et al. 2017) beside the paper's beta_sm (section 5.1).

Both are softmax(scores / tau) with one number tau fitted on labelled images. The paper's number,
beta_sm = 1 / tau on Y, makes mean confidence and accuracy equal; the ordinary one minimises the
negative log-likelihood (NLL), and can do so on scores that do not saturate.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from denseam.analysis.confidence import confidence_bins, first_above, solve_beta
from denseam.checks import seed_of
from denseam.classifier import Classifier
from denseam.data import Examples
from denseam.data.validate import check_labels
from denseam.errors import InputError
from denseam.evaluation import check_fit, visible_parts
from denseam.showing import Shown, Tabular

FLOOR = 1e-12
"""An image's NLL is -log max(P of its class, FLOOR): where P is 0 it is 27.6 and not infinite."""


@dataclass(frozen=True, repr=False)
class CalibrationWay(Shown):
    """A confidence with one parameter, fitted on some images and measured on others.

    Attributes:
        parameter: beta_sm for softmax on Y, the temperature tau for softmax on energies.
        expected_calibration_error: ten bins, as in ``ConfidenceBins``.
        nll: mean over the images, nats; see ``FLOOR``.
        confidence: mean of Z.
        accuracy: the same in every row of a comparison, as no labels change.
        n_images: measured on.
    """

    parameter: float
    expected_calibration_error: float
    nll: float
    confidence: float
    accuracy: float
    n_images: int


@dataclass(frozen=True, repr=False)
class CalibrationComparison(Shown, Tabular):
    """Four kinds of confidence, fitted on one half of the images, measured on the other."""

    n_fitted: int  # images of the first half
    paper: CalibrationWay  # softmax(beta_sm Y), mean confidence = accuracy
    activity: CalibrationWay  # softmax(beta_sm Y), least NLL
    log_energy: CalibrationWay  # softmax(log-energy / tau), least NLL
    energy_gap: CalibrationWay  # softmax(energy gap / tau), least NLL

    def _columns(self) -> dict[str, list[Any]]:
        ways = self.ways()
        names = vars(self.paper)
        return {"way": [*ways], **{k: [vars(way)[k] for way in ways.values()] for k in names}}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        ways = {name: dict(way.__dict__) for name, way in self.ways().items()}
        return {"n_fitted": self.n_fitted, **ways}

    def ways(self) -> dict[str, CalibrationWay]:
        """Return all four, by name."""
        return {name: way for name, way in self.__dict__.items() if name != "n_fitted"}


def compare_calibration(
    model: Classifier, images: Examples, seed: int = 0
) -> CalibrationComparison:
    """Measure how well calibrated four kinds of confidence are, on images they are not fitted on.

    A class with log-energy -inf has P = 0; if all classes have it, they are equally likely.

    Args:
        model: whose scores to take.
        images: labelled images that the model has not been trained on.
        seed: of the halves.

    Raises:
        InputError: when the images do not fit the model, are fewer than two, or when a parameter
            would not be finite, as for a model that labels every image correctly.
    """
    check_fit(model, images)
    if len(images) < 2:
        raise InputError(f"{images.name}: {len(images)} image has no halves, wanted 2 or more")
    gap, energy, right = _scores(model, images)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed_of(seed)))
    fit, test = order[: len(order) // 2], order[len(order) // 2 :]
    labels, activity = images.labels, torch.tanh(gap)

    def way(scores: Tensor, tau: float, *, on_activity: bool = False) -> CalibrationWay:
        P = _softmax(scores[test], tau)
        Z = P.amax(dim=1)
        right_class = P[torch.arange(len(test)), labels[test]].clamp(min=FLOOR)
        bins = confidence_bins(Z, ~right[test])
        return CalibrationWay(
            parameter=1 / tau if on_activity else tau,
            expected_calibration_error=bins.expected_calibration_error,
            nll=float(-right_class.log().mean()),
            confidence=float(Z.mean()),
            accuracy=float(right[test].double().mean()),
            n_images=len(test),
        )

    beta_sm = solve_beta(activity[fit], float(right[fit].double().mean()))
    return CalibrationComparison(
        n_fitted=len(fit),
        paper=way(activity, 1 / beta_sm, on_activity=True),
        activity=way(activity, fit_temperature(activity[fit], labels[fit]), on_activity=True),
        log_energy=way(energy, fit_temperature(energy[fit], labels[fit])),
        energy_gap=way(gap, fit_temperature(gap[fit], labels[fit])),
    )


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Find the tau > 0 at which softmax(logits / tau) has the least mean NLL (Guo et al. 2017).

    The NLL is convex in 1 / tau, so its derivative is bisected, in float64. A class with logit
    -inf has probability 0 at every tau. Images whose right class has logit -inf are left out.

    Args:
        logits: (B, C), finite or -inf.
        labels: (B,) right classes.

    Raises:
        InputError: for other logits or labels, and when there is no finite minimum: the right
            class is the largest of every image (tau -> 0), or nothing is better than making all
            classes alike (tau -> infinity).
    """
    exact = _check_logits(logits)
    check_labels(labels, exact.shape[1], len(exact))
    right = exact.gather(1, labels[:, None].to(exact.device))
    rows = right[:, 0].isfinite()
    exact, right = exact[rows], right[rows]
    if not len(exact):
        raise InputError("the right class has logit -inf in every image: nothing to fit")
    away = exact / 2 - right / 2  # (B, C): 0 in the right class; halves do not overflow
    unit = float(torch.where(away.isfinite(), away.abs(), 0.0).amax())
    away /= unit or 1.0
    if _slope(away, 0.0) >= 0:
        raise InputError("no temperature is finite: equal probabilities have the least NLL here")
    if not bool((away > 0).any()):
        raise InputError(
            "no temperature is above 0: the right class has the largest logit of every image"
        )
    return 2 * unit / first_above(lambda inverse: _slope(away, inverse) >= 0)


def _slope(away: Tensor, inverse: float) -> float:
    """Return d NLL / d (1 / tau) over all images: the mean of ``away`` (B, C) under the softmax."""
    P = torch.softmax(torch.where(away.isfinite(), inverse * away, -math.inf), dim=1)
    return float((P * torch.where(away.isfinite(), away, 0.0)).sum())


def _softmax(scores: Tensor, tau: float) -> Tensor:
    """Return softmax(scores / tau), (B, C) float64; 1 / C where no memory is active."""
    # The largest becomes 0 first: dividing by a small tau must not overflow.
    top = scores.amax(dim=1, keepdim=True)
    known = top.isfinite()
    return torch.softmax(torch.where(known, scores - top, 0.0) / tau, dim=1)


def _scores(model: Classifier, images: Examples) -> tuple[Tensor, Tensor, Tensor]:
    """Return energy gap and log-energy, (M, C) float64, and which labels are right, (M,) bool."""
    gaps, energies, labels = [], [], []
    with torch.no_grad():
        for visible in visible_parts(model, images):
            gaps.append(model.energy_gap(visible).double().cpu())
            energies.append(model.log_energy(visible).double().cpu())
            labels.append(model.predict(visible).cpu())
    return torch.cat(gaps), torch.cat(energies), torch.cat(labels) == images.labels


def _check_logits(logits: Tensor) -> Tensor:
    """Return the logits in float64; InputError unless (B, C), B >= 1, finite or -inf."""
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.ndim != 2:
        is_tensor = isinstance(logits, Tensor)
        kind = f"{logits.dtype} {tuple(logits.shape)}" if is_tensor else type(logits).__name__
        raise InputError(f"logits must be a floating (B, C), got {kind}")
    if not len(logits) or not bool((logits < math.inf).all()):
        raise InputError("logits must be finite or -inf, and of one image at least")
    return logits.detach().double()

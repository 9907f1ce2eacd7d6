"""One threshold from clean images, with a promise about how many of them it rejects.

Split conformal prediction (Vovk, Gammerman and Shafer 2005; Bates et al., *Testing for outliers
with conformal p-values*, 2023). With n scores of clean images, s_1 <= ... <= s_n,

    q = s_k,  k = ceil((n + 1)(1 - a))        reject where s > q
    p = (1 + #{i: s_i >= s}) / (n + 1)        the same: reject where p <= a

Guarantee: if a new clean image and the n are exchangeable, it is rejected with probability at most
a, and, where scores do not tie, at least a - 1 / (n + 1). That is an average over images and over
calibration sets (marginal): for one calibration set the rate is near a, with deviation
sqrt(a (1 - a) / n); for one class, or for clean images of another source, nothing is promised.
"""

import math

import torch
from torch import Tensor

from denseam.checks import number
from denseam.errors import InputError

_LEAST = 1e-9  # of a rate: below it rank and needed would be rounding


def check_rate(target_rejection: float) -> float:
    """Return a as a float.

    Raises:
        InputError: unless it is a number in (0, 1), a billionth from either end.
    """
    rate = number("target_rejection", target_rejection, above=0, below=1)
    if not _LEAST <= rate <= 1 - _LEAST:
        raise InputError(f"target_rejection = {rate!r}: wanted {_LEAST:g} and more from 0 and 1")
    return rate


def rank(count: int, target_rejection: float) -> int:
    """Return k, the place of the threshold among ``count`` rising scores, from 1 to any number."""
    # (n + 1) a first: 1 - a is rounded, and 100 (1 - 0.01) would be just above 99.
    return count + 1 - math.floor((count + 1) * target_rejection * (1 + 1e-12))


def needed(target_rejection: float) -> int:
    """Return the fewest clean images that can promise a rate: one of their scores is the threshold.

    That is ceil(1 / a) - 1, for a score that needs no fitting. ``Guard.calibrate`` needs twice as
    many for scores that are first fitted to a reference, which half of the images become:
    "profile" (the default), "pixels", "log_energy", and any that are joined by "+".

    Args:
        target_rejection: a, in (0, 1).

    Returns:
        n, the number of images.

    Raises:
        InputError: unless it is a number in (0, 1).
    """
    return math.ceil(1 / check_rate(target_rejection) * (1 - 1e-12)) - 1


def threshold(calibration: Tensor, target_rejection: float) -> float:
    """Return q of rising scores (n,).

    Raises:
        InputError: when n is too small for the rate.
    """
    count = len(calibration)
    place = rank(count, target_rejection)
    if place > count:
        raise InputError(
            f"{count} clean images cannot promise a rejection of {target_rejection:g}: wanted at "
            f"least {needed(target_rejection)}"
        )
    return float(calibration[place - 1])


def p_values(calibration: Tensor, scores: Tensor) -> Tensor:
    """Return p (B,) float64 of scores (B,), from rising calibration scores (n,)."""
    below = torch.searchsorted(calibration, scores.double().contiguous())  # strictly smaller ones
    return (1 + len(calibration) - below).double() / (len(calibration) + 1)

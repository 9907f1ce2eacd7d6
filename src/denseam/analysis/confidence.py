"""Confidence (section 5.1): how sure a model is of its label."""

import torch
from torch import Tensor

from denseam.checks import number
from denseam.classifier import Classifier
from denseam.errors import InputError

__all__ = ["BETA_SM", "confidence", "confidence_of"]

BETA_SM = 3.2
"""The paper's beta_sm: ideal outputs, +1 once and -1 nine times, then have Z = 0.985."""

_CHUNK = 10_000


def confidence(model: Classifier, visible: Tensor, beta_sm: float = BETA_SM) -> Tensor:
    """Z = max_a softmax_a(beta_sm Y_a), (B,) in [1/C, 1].

    Args:
        model: whose Y to take.
        visible: (B, N) in [-1, 1], of the model's dtype and on its device.
        beta_sm: inverse temperature of the softmax, > 0.

    Raises:
        InputError: when ``visible`` does not fit the model, or for beta_sm <= 0.
    """
    with torch.no_grad():
        parts = [confidence_of(model(part), beta_sm) for part in torch.split(visible, _CHUNK)]
    return torch.cat(parts)


def confidence_of(activity: Tensor, beta_sm: float = BETA_SM) -> Tensor:
    """The same from Y (B, C).

    Raises:
        InputError: for beta_sm <= 0, or anything but a floating (B, C).
    """
    beta_sm = number("beta_sm", beta_sm, above=0)
    if activity.ndim != 2 or not activity.is_floating_point():
        given = f"{tuple(activity.shape)} {activity.dtype}"
        raise InputError(f"activity must be a floating (B, C), got {given}")
    return torch.softmax(beta_sm * activity, dim=1).amax(dim=1)

"""Confidence (section 5.1): the probability that a model gives to its label."""

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
    """Return Z = max_a softmax_a(beta_sm Y_a) of images, (B,) in [1/C, 1].

    Args:
        model: whose Y to take.
        visible: (B, N) in [-1, 1], of the model's dtype and on its device.
        beta_sm: inverse temperature of the softmax, > 0.

    Raises:
        InputError: when ``visible`` does not fit the model, or for beta_sm <= 0.
    """
    with torch.no_grad():
        chunks = torch.split(visible, _CHUNK)
        return torch.cat([confidence_of(model(chunk), beta_sm) for chunk in chunks])


def confidence_of(activity: Tensor, beta_sm: float = BETA_SM) -> Tensor:
    """Return Z of class activities Y (B, C), (B,) in [1/C, 1].

    Raises:
        InputError: for beta_sm <= 0, or anything but a floating (B, C).
    """
    beta_sm = number("beta_sm", beta_sm, above=0)
    if activity.ndim != 2 or not activity.is_floating_point():
        shape = tuple(activity.shape)
        raise InputError(f"activity is {shape} {activity.dtype}: wanted a floating (B, C)")
    return torch.softmax(beta_sm * activity, dim=1).amax(dim=1)

"""Heads for descents: class scores of a batch and directions back to its inputs, of any module."""

import torch
from torch import nn

from denseam.classifier import Classifier
from denseam.heads import Head, Scores, module_head, own_and_best_other

__all__ = ["Head", "Scores", "head_of", "own_and_best_other"]


def head_of(model: nn.Module, shape: torch.Size, *, log_energy: bool) -> Head:
    """Return a head of a network, or of any module that returns logits (B, C).

    ``shape`` is that of one input as the module takes it; heads take inputs flat.
    """
    if isinstance(model, Classifier):
        return model.head(shape, "log_energy" if log_energy else "energy_gap")
    return module_head(model, shape)

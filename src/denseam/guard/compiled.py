"""The default score in C, see ``kernels/cpu_profile.c``: as ``scores`` and ``profile`` have it."""

from typing import TypeGuard

import torch
from torch import Tensor

from denseam.guard.profile import Profile
from denseam.kernels import native

__all__ = ["knows", "score"]

_FEATURES = 5


def knows(profile: Profile | None, visible: Tensor, n_classes: int) -> TypeGuard[Profile]:
    """Whether a score is that of this profile alone, for images that C can reach."""
    if profile is None or native.library() is None or not visible.is_cpu:
        return False
    shapes = tuple(profile.means.shape), tuple(profile.whiteners.shape)
    wanted = (n_classes, _FEATURES), (n_classes, _FEATURES, _FEATURES)
    return shapes == wanted and profile.means.dtype == profile.whiteners.dtype == torch.float64


def score(
    profile: Profile,
    visible: Tensor,
    shape: tuple[int, int] | None,
    log_energy: Tensor,
    energy_gap: Tensor,
) -> tuple[Tensor, Tensor]:
    """(B, N) and two (B, C) float64 -> scores (B,) float64 and labels (B,); no gradients.

    Raises:
        ValueError: when H W is not N.
    """
    (B, C), (height, width) = log_energy.shape, shape or (1, visible.shape[1])
    if tuple(visible.shape) != (B, height * width):
        raise ValueError(f"images {tuple(visible.shape)}: wanted {(B, height * width)}")
    scores, labels = torch.empty(B, dtype=torch.float64), torch.empty(B, dtype=torch.int64)
    native.call(
        "profile", visible.double().contiguous(), B, height, width, log_energy, energy_gap, C,
        profile.means, profile.whiteners, scores, native.pointer(labels, torch.int64),
    )  # fmt: skip
    return scores, labels

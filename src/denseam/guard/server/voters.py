"""The memories that voted for an image: what the page shows beside a verdict."""

import base64
from typing import Any

from torch import Tensor

from denseam.data.pixels import to_bytes, to_visible
from denseam.explanation import ClassVotes
from denseam.guard import Guard
from denseam.guard.server.refusals import RefusedError
from denseam.model import DenseAM

__all__ = ["detector_of", "voters"]


def detector_of(guard: Guard) -> DenseAM | None:
    """The dense associative memory of a guard; None where its detector is something else."""
    network = getattr(guard.detector, "network", None)
    return network if isinstance(network, DenseAM) else None


def voters(guard: Guard, images: Tensor, count: int) -> dict[str, Any]:
    """Which memories of the detector make the energy of its label, as plain JSON values.

    Args:
        guard: whose detector is asked.
        images: (1, H, W), uint8 or float32 in [0, 1].
        count: how many memories to name.

    Raises:
        RefusedError: 404 when the detector has no memories; 400 for other than one valid image.
    """
    model = detector_of(guard)
    if model is None:
        raise RefusedError(
            404, "no_memories", "the detector of this guard has no memories that vote"
        )
    if len(images) != 1:
        raise RefusedError(400, "bad_request", f"{len(images)} images: wanted one")
    visible = to_visible(images.flatten(1))
    if not bool((visible.isfinite() & (visible.abs() <= 1)).all()):
        raise RefusedError(400, "bad_request", "wanted pixels in [0, 1]")
    found = model.explain(visible.to(model.memories), count)
    return {
        "active": found.active,
        "shape": list(images.shape[1:]),
        "votes": [_votes(votes) for votes in (found.predicted, found.other) if votes is not None],
    }


def _votes(votes: ClassVotes) -> dict[str, Any]:
    grey = to_bytes(votes.visible).cpu()
    described = votes.to_json()
    for memory, pixels in zip(described["memories"], grey, strict=True):
        memory["image"] = base64.b64encode(pixels.numpy().tobytes()).decode()
    return described

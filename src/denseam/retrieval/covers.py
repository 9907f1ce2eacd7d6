"""Corrupted patterns to retrieve from: halves covered, components flipped or drowned in noise."""

from typing import NamedTuple

import torch
from torch import Tensor

from denseam.checks import number, seed_of
from denseam.errors import InputError

__all__ = ["COVERS", "Covered", "cover"]

COVERS = ("left", "right", "top", "bottom", "half", "noise", "flip", "block")
_HALVES = {"left", "right", "top", "bottom"}


class Covered(NamedTuple):
    """States with something missing, and what is known of them."""

    states: Tensor  # (B, D)
    known: Tensor | None  # (B, D) bool; None where any component may be wrong


def cover(
    states: Tensor,
    how: str,
    *,
    shape: tuple[int, int] | None = None,
    fill: float | Tensor = 0.0,
    binary: bool = False,
    seed: int = 0,
) -> Covered:
    """Cover or disturb states, to retrieve them again.

    Args:
        states: (B, D) or (D,).
        how: "left", "right", "top" or "bottom" half of a picture; "half" of the components by
            chance; "block:0.5", a square of that share of each side by chance; or without a mask
            "noise:0.3", normal noise of that deviation (a share of flips for binary states), and
            "flip:0.3", that share of components with their sign turned.
        shape: (H, W) of pictures, for halves and blocks.
        fill: what covered components become, a number or (D,).
        binary: covered components become -1 or +1 by chance, and noise turns signs.
        seed: of everything random.

    Raises:
        InputError: for another cover, a share out of range, or a shape that does not fit.

    >>> covered = cover(torch.ones(1, 4), "left", shape=(2, 2))
    >>> covered.states, covered.known
    (tensor([[0., 1., 0., 1.]]), tensor([[False,  True, False,  True]]))
    """
    states = states[None] if states.ndim == 1 else states
    kind, _, text = how.partition(":")
    if kind not in COVERS:
        raise InputError(f"cover = {how!r}: wanted {', '.join(COVERS)}, such as noise:0.3")
    generator = torch.Generator().manual_seed(seed_of(seed))
    if kind in ("noise", "flip"):
        return Covered(_disturbed(states, kind, _share(how, text, 0.3), binary, generator), None)
    known = _known(states, kind, how, text, shape, generator).to(states.device)
    if binary:
        coins = torch.randint(2, states.shape, generator=generator).to(states) * 2 - 1
        return Covered(torch.where(known, states, coins), known)
    return Covered(torch.where(known, states, torch.as_tensor(fill).to(states)), known)


def _share(how: str, text: str, default: float) -> float:
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    return number(f"cover {how!r}", value, least=0, most=1 if not how.startswith("noise") else None)


def _disturbed(
    states: Tensor, kind: str, share: float, binary: bool, generator: torch.Generator
) -> Tensor:
    if kind == "noise" and not binary:
        noise = torch.randn(states.shape, generator=generator, dtype=states.dtype)
        return states + share * noise.to(states.device)
    turned = torch.rand(states.shape, generator=generator).to(states.device) < share
    return torch.where(turned, -states, states)


def _known(
    states: Tensor,
    kind: str,
    how: str,
    text: str,
    shape: tuple[int, int] | None,
    generator: torch.Generator,
) -> Tensor:
    """Return the mask of the components that stay, (B, D) bool."""
    if kind == "half":
        return torch.rand(states.shape, generator=generator) >= _share(how, text, 0.5)
    if shape is None or shape[0] * shape[1] != states.shape[1]:
        size = f"{states.shape[1]} components"
        raise InputError(f"cover {how!r} needs the shape of pictures: {shape} for {size}")
    H, W = shape
    known = torch.ones(len(states), H, W, dtype=torch.bool)
    if kind in _HALVES:
        share = _share(how, text, 0.5)
        rows, columns = round(share * H), round(share * W)
        places = {
            "left": (slice(None), slice(0, columns)),
            "right": (slice(None), slice(W - columns, W)),
            "top": (slice(0, rows), slice(None)),
            "bottom": (slice(H - rows, H), slice(None)),
        }
        known[:, *places[kind]] = False
        return known.flatten(1)
    share = _share(how, text, 0.5)
    height, width = round(share * H), round(share * W)
    for image in known:
        top = int(torch.randint(H - height + 1, (), generator=generator))
        left = int(torch.randint(W - width + 1, (), generator=generator))
        image[top : top + height, left : left + width] = False
    return known.flatten(1)

"""Changes of images that leave their classes as they are, and rules one after the other."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

from denseam.checks import number
from denseam.classifier import Classifier
from denseam.errors import InputError
from denseam.training.adversarial import Adversarial
from denseam.training.batches import BatchRule

__all__ = ["Distort", "MovedThenAttacked", "Shift"]


class _Move:
    """A callable for batches of pictures of one shape that changes some of them."""

    name: ClassVar[str]  # of the probability, in errors

    def __init__(self, shape: Sequence[int], probability: float = 0.5) -> None:
        if len(shape) not in (2, 3):
            raise InputError(f"shape = {tuple(shape)}: wanted pictures, (H, W) or (colours, H, W)")
        self.shape = tuple(shape)
        self.probability = number(self.name, probability, least=0, most=1)


class Shift(_Move):
    """A ``batch=`` callable of ``denseam.train`` that moves images by one pixel.

    An image goes to one of its eight neighbours; pixels at its edge are repeated.

    Args:
        shape: of one image, (H, W) or (colours, H, W).
        probability: that an image is moved.

    Raises:
        InputError: for another shape, and for a probability outside of [0, 1].

    >>> Shift((3, 3), 1.0)(None, torch.eye(3).reshape(1, 9), torch.zeros(1)).shape
    torch.Size([1, 9])
    """

    name = "shift"

    def __call__(self, model: Classifier | None, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the images of a batch (B, N), some of them moved."""
        del model, labels
        *_, height, width = self.shape
        pictures = inputs.reshape(len(inputs), -1, height, width)
        wide = pad(pictures, (1, 1, 1, 1), mode="replicate")
        moving = torch.rand(len(inputs)) < self.probability
        # The middle of the nine places, number 4, is left out.
        place = torch.randint(8, (len(inputs),))
        place = torch.where(moving, place + (place >= 4), 4).to(inputs.device)
        moved = torch.empty_like(pictures)
        for k in range(9):
            rows, top, left = place == k, k // 3, k % 3
            moved[rows] = wide[rows, :, top : top + height, left : left + width]
        return moved.reshape(inputs.shape)


class Distort(_Move):
    """A ``batch=`` callable of ``denseam.train`` that turns, stretches, slants and moves images.

    Each by a uniform random amount of either sign: by angles up to 12 degrees, sizes up to 10 %,
    slants up to 0.1, and up to one pixel each way. Pixels between others are interpolated, and
    pixels at the edge repeated.

    Args:
        shape: of one image, (H, W) or (colours, H, W).
        probability: that an image is distorted.

    Raises:
        InputError: for another shape, and for a probability outside of [0, 1].

    >>> Distort((3, 3), 1.0)(None, torch.eye(3).reshape(1, 9), torch.zeros(1)).shape
    torch.Size([1, 9])
    """

    name = "distort"
    angle, size, slant, pixels = math.radians(12), 0.1, 0.1, 1.0

    def __call__(self, model: Classifier | None, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the images of a batch (B, N), some of them distorted."""
        del model, labels
        *_, height, width = self.shape
        turning = torch.rand(len(inputs), 1) < self.probability
        turn, across, down, slant, right, below = torch.empty(6, len(inputs)).uniform_(-1, 1)
        cosine, sine = (self.angle * turn).cos(), (self.angle * turn).sin()
        across, down = 1 + self.size * across, 1 + self.size * down
        # affine_grid counts from -1 at one edge to 1 at the other: a pixel is 2 / width.
        right, below = right * self.pixels * 2 / width, below * self.pixels * 2 / height
        rows = [cosine * across, self.slant * slant - sine * down, right, sine * across]
        maps = torch.stack([*rows, cosine * down, below], dim=1).reshape(-1, 2, 3).to(inputs)
        pictures = inputs.reshape(len(inputs), -1, height, width)
        places = affine_grid(maps, list(pictures.shape), align_corners=False)
        low, high = pictures.aminmax()  # the paper stays exactly as it is: weights times zero
        turned = grid_sample(pictures - low, places, padding_mode="border", align_corners=False)
        turned = (turned + low).clamp(low, high)
        return torch.where(turning.to(inputs.device), turned.reshape(inputs.shape), inputs)


class MovedThenAttacked:
    """A ``batch=`` callable that attacks images after other callables have changed some of them.

    Without an attack, the changed images are what is learned from.
    """

    def __init__(self, moves: Sequence[BatchRule], attack: Adversarial | None = None) -> None:
        self.moves, self.attack = tuple(moves), attack
        if attack is not None:
            self.repeats = attack.repeats
            self.learned, self.summary, self.breaks = attack.learned, attack.summary, attack.breaks

    def __call__(
        self, model: Classifier, inputs: Tensor, labels: Tensor, epoch: int, batch: int = 0
    ) -> Tensor | tuple[Tensor, Tensor]:
        for move in self.moves:
            inputs = move(model, inputs, labels)
        return inputs if self.attack is None else self.attack(model, inputs, labels, epoch, batch)

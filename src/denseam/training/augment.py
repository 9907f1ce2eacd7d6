"""Changes of images that leave their classes as they are, and rules one after the other."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from denseam.checks import number
from denseam.classifier import Classifier
from denseam.errors import InputError
from denseam.training.adversarial import Adversarial

__all__ = ["Shift", "ShiftedThenAttacked"]


class Shift:
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

    def __init__(self, shape: Sequence[int], probability: float = 0.5) -> None:
        if len(shape) not in (2, 3):
            raise InputError(f"shape = {tuple(shape)}: wanted pictures, (H, W) or (colours, H, W)")
        self.shape = tuple(shape)
        self.probability = number("shift", probability, least=0, most=1)

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


class ShiftedThenAttacked:
    """A ``batch=`` callable that attacks images after it has moved some of them."""

    def __init__(self, shift: Shift, attack: Adversarial) -> None:
        self.shift, self.attack, self.repeats = shift, attack, attack.repeats
        self.learned, self.summary, self.breaks = attack.learned, attack.summary, attack.breaks

    def __call__(
        self, model: Classifier, inputs: Tensor, labels: Tensor, epoch: int, batch: int = 0
    ) -> tuple[Tensor, Tensor]:
        return self.attack(model, self.shift(model, inputs, labels), labels, epoch, batch)

"""ImageClassifier: a network as other people's toolkits want one.

Foolbox, ART, torchattacks and AutoAttack take a module from images in [0, 1] to logits.
"""

import math
import warnings

import torch
from torch import Tensor, nn

from denseam.checks import number
from denseam.classifier import Classifier, HeadName, check_head
from denseam.data.pixels import to_visible
from denseam.errors import DenseAMWarning, InputError

__all__ = ["ImageClassifier", "logit_scale"]

LEAD = 8.0  # nats

# Attacks may step over the edge of the box and are clipped afterwards; images of another scale
# lie much farther outside.
_SLACK = 0.05


class ImageClassifier(nn.Module):
    """Images (B, 1, H, W) in [0, 1] -> logits (B, C); the label is the argmax.

    Deterministic, differentiable, of the images' dtype, on the device of its parameters. Logits
    are finite for finite images. Those of float16 and bfloat16 images are rounded to as much, and
    classes that differ by less tie: the label is safe from float32 on. Images that are not scaled
    to [0, 1] are warned of; to have an error instead: ``warnings.simplefilter("error",
    denseam.DenseAMWarning)``.

    Args:
        model: a ``DenseAM`` or any other network of the package.
        head: "log_energy", the logarithm of each class's share of the energies, which never
            saturates and is what attacks should get; "energy_gap", the argument of tanh in Eq. 2.1;
            or "tanh", Y itself. The last two hide gradients: what survives attacks on them need not
            be robust.
        scale: a factor of the logits. Log-energies of classes differ little, by 0.003 to 0.2 for
            the models of the package, and their softmax is nearly flat. Attacks that take the
            gradient of a cross entropy, or weigh a margin against a distance, may want 1000.

    Raises:
        InputError: for another head or model, and for a scale that is not a number > 0.
    """

    def __init__(
        self, model: Classifier, head: HeadName = "log_energy", *, scale: float = 1.0
    ) -> None:
        super().__init__()
        if not isinstance(model, Classifier):
            raise InputError(f"model: wanted a network of denseam, got {type(model).__name__}")
        check_head(head)
        self.model = model
        self.head: HeadName = head
        self.scale = number("scale", scale, above=0)
        self.training = False  # nothing here depends on it, and toolkits warn of models in training

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) in [0, 1] -> (B, C); any shape (B, ...) of N pixels will do.

        Where no memory is active for a class, its log-energy of -inf becomes the least one that an
        active memory can have in float32. NaN pixels make NaN logits.

        Raises:
            InputError: for images that are not floating or have another number of pixels.
        """
        self._check(images)
        dtype = self.model.memories.dtype
        finer = torch.promote_types(images.dtype, dtype)  # half precision loses pixels by 2 x - 1
        visible = to_visible(images.flatten(1).to(finer)).to(dtype)
        if self.head == "log_energy":
            scores = self.model.exact_scores(visible).clamp(min=torch.finfo(torch.float32).min)
            logits = torch.log_softmax(self.scale * scores, dim=1)
        else:
            logits = self.scale * self.model.scores(visible, self.head)
        largest = torch.finfo(images.dtype).max
        return logits.double().clamp(-largest, largest).to(images.dtype)

    def _check(self, images: Tensor) -> None:
        n_visible = self.model.n_visible
        if not isinstance(images, Tensor) or not images.is_floating_point():
            kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
            raise InputError(f"images must be floating in [0, 1], got {kind}; divide bytes by 255")
        if images.ndim < 2 or math.prod(images.shape[1:]) != n_visible:
            raise InputError(
                f"images have shape {tuple(images.shape)}: wanted (B, 1, H, W) with H W = "
                f"{n_visible}"
            )
        if torch.compiler.is_compiling() or not len(images):
            return
        low, high = (float(x) for x in torch.aminmax(images.detach()))
        if low < -_SLACK or high > 1 + _SLACK:
            hint = ""
            if low >= -1 - _SLACK and high <= 1 + _SLACK:
                hint = "; if they are in [-1, 1]: images / 2 + 0.5"
            elif low >= 0 and high <= 255:
                hint = "; if they are bytes: images / 255"
            warnings.warn(
                f"images from {low:.3g} to {high:.3g}: wanted [0, 1]{hint}",
                DenseAMWarning,
                stacklevel=5,  # whoever called the module
            )


def logit_scale(scores: Tensor) -> float:
    """The factor at which the scores (B, C) of clean images make a softmax of use, > 0.

    By half of the images the best class then leads the second by ``LEAD`` nats or more, as in a
    calibrated classifier of a few percent error. 1 where nothing leads, as with a single class.
    """
    if scores.shape[1] < 2:
        return 1.0
    best = scores.detach().double().topk(2, dim=1).values
    lead = best[:, 0] - best[:, 1]
    lead = lead[lead.isfinite() & (lead > 0)]
    return LEAD / float(lead.median()) if len(lead) else 1.0

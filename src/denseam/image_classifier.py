"""ImageClassifier: a network as attack toolkits expect it; VisibleModule: their modules for ours.

Foolbox, ART, torchattacks and AutoAttack take a module from images in [0, 1] to logits.
"""

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from denseam.checks import number
from denseam.classifier import Classifier, HeadName, check_head
from denseam.data.arrays import square
from denseam.data.pixels import to_unit, to_visible
from denseam.errors import DenseAMWarning, InputError

__all__ = ["ImageClassifier", "VisibleModule", "logit_scale"]

LEAD = 8.0  # nats; see ``logit_scale``

# Attacks may leave [0, 1] by a little before they clip; images of another scale leave it by far.
_SLACK = 0.05


class ImageClassifier(nn.Module):
    """A module from images (B, 1, H, W) in [0, 1] to logits (B, C); the label is the argmax.

    Deterministic and differentiable. Logits have the images' dtype and are finite for finite
    images. For float16 and bfloat16 images they are rounded, so that close classes may tie: use
    float32 or float64 for labels. Images outside [0, 1] give a ``DenseAMWarning``; turn it into an
    error by ``warnings.simplefilter("error", denseam.DenseAMWarning)``.

    Args:
        model: a ``DenseAM`` or any other network of the package.
        head: "log_energy", the logarithm of each class's share of the energies, which never
            saturates and is what attacks should get; "energy_gap", the argument of tanh in Eq. 2.1;
            or "tanh", Y itself. The last two hide gradients: a model that survives attacks on them
            need not be robust.
        scale: a factor of the logits. Log-energies of classes differ by only 0.003 to 0.2 in the
            models of the package, so their softmax is nearly flat. Attacks by the gradient of a
            cross-entropy, or by a margin weighed against a distance, may need a scale of 1000.

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
        self.training = False  # changes nothing; toolkits warn of models in training mode

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, C) of images (B, 1, H, W) in [0, 1], or (B, ...) with N pixels.

        Where no memory is active for a class, its log-energy of -inf becomes the lowest one that an
        active memory can have in float32. NaN pixels give NaN logits.

        Raises:
            InputError: for images that are not floating or have another number of pixels.
        """
        self._check(images)
        dtype = self.model.memories.dtype
        finer = torch.promote_types(images.dtype, dtype)  # 2 x - 1 loses pixels in half precision
        visible = to_visible(images.flatten(1).to(finer)).to(dtype)
        if self.head == "log_energy":
            scores = self.model.exact_scores(visible).clamp(min=torch.finfo(torch.float32).min)
            logits = torch.log_softmax(self.scale * scores, dim=1)
        else:
            logits = self.scale * self.model.scores(visible, self.head)
        largest = torch.finfo(images.dtype).max
        return logits.double().clamp(-largest, largest).to(images.dtype)

    def _check(self, images: Tensor) -> None:
        n_visible = self.model.n_inputs
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
                stacklevel=5,  # the caller of the module
            )


class VisibleModule(nn.Module):
    """Anybody's module from images in [0, 1] to logits, as this package shows images to models.

    ``evaluate``, ``audit``, attacks and image sets take images as ``visible``, (B, N) in [-1, 1].
    This module takes them so, and hands them to the other one as images (B, *input_shape) in
    [0, 1]. Gradients pass. It is the inverse of ``ImageClassifier``.

    Args:
        module: from images (B, *input_shape) in [0, 1] to logits (B, C). It is put in eval mode.
        input_shape: (1, H, W) or (3, H, W) of an image, or (N,); by default (1, H, H).

    >>> import denseam
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    >>> test = denseam.data.load("mnist").test[:100]
    >>> denseam.evaluate(denseam.VisibleModule(network), test).n_images
    100
    """

    def __init__(self, module: nn.Module, input_shape: Sequence[int] | None = None) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise InputError(f"module: wanted a torch.nn.Module, got {type(module).__name__}")
        self.module = module.eval()
        self.input_shape = None if input_shape is None else tuple(map(int, input_shape))
        self.training = False

    def forward(self, visible: Tensor) -> Tensor:
        """Return the module's logits (B, C) of images (B, N) in [-1, 1].

        Raises:
            InputError: for images of another size, and where the module does not take them.
        """
        images = to_unit(visible).reshape(len(visible), *self._shape(visible[0].numel()))
        try:
            logits: Tensor = self.module(images)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            if isinstance(error, InputError | torch.OutOfMemoryError):
                raise
            raise InputError(
                f"{type(self.module).__name__} does not take images {tuple(images.shape)}: "
                f"{error}; input_shape says the shape of one"
            ) from error
        return logits

    def _shape(self, pixels: int) -> tuple[int, ...]:
        shape = self.input_shape
        if shape is None:
            side = square(pixels)
            if side is None:
                raise InputError(f"input_shape: wanted (1, H, W) or (3, H, W) of {pixels} pixels")
            shape = (1, *side)
        if math.prod(shape) != pixels:
            raise InputError(f"input_shape = {shape}: images have {pixels} pixels")
        return shape


def logit_scale(scores: Tensor) -> float:
    """Return the factor > 0 that makes the softmax of scores (B, C) of clean images useful.

    With it, the best class leads the second by ``LEAD`` nats or more on half of the images, as in a
    calibrated classifier with an error of a few percent. 1 if no class leads, as with one class.
    """
    if scores.shape[1] < 2:
        return 1.0
    best = scores.detach().double().topk(2, dim=1).values
    lead = best[:, 0] - best[:, 1]
    lead = lead[lead.isfinite() & (lead > 0)]
    return LEAD / float(lead.median()) if len(lead) else 1.0

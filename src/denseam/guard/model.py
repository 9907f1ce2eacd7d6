"""GuardedModel: guard and classifier as one module, for attacks on both at once."""

import torch
from torch import Tensor, nn

from denseam.checks import number
from denseam.data.pixels import Scale
from denseam.errors import InputError
from denseam.guard.detector import NetworkDetector
from denseam.guard.evidence import evidence
from denseam.guard.guard import Guard
from denseam.precision import in_full_precision

_CLIPPED = 1e30  # of scores that are infinite, where a gradient is to pass


class GuardedModel(nn.Module):
    """Images (B, 1, H, W) in [0, 1] -> logits (B, C + 1), of which the last one means junk.

        logits_c = log softmax_c of the classifier's scores
        junk     = max_c logits_c + slope * (score - threshold)

    So the argmax is C exactly where the guard rejects, and the classifier's label elsewhere. All
    of it is differentiable: an attack that is given this module attacks detector and classifier
    together. One that gets through has to be accepted *and* wrong; an argmax of C is a defence.

    Args:
        guard: calibrated, of a network of denseam as detector and a module or a network as
            classifier.
        slope: by how much a score beyond the threshold outweighs the classifier, > 0.
        scale: a factor of the classifier's scores; log-energies differ little, see
            ``ImageClassifier``.

    Raises:
        InputError: for a guard that is not calibrated, members without gradients, or numbers <= 0.
    """

    def __init__(self, guard: Guard, *, slope: float = 1.0, scale: float = 1.0) -> None:
        super().__init__()
        if not isinstance(guard.detector, NetworkDetector):
            raise InputError("the guard's detector has no gradient: wanted a network of denseam")
        if guard.classifier.module is None:
            raise InputError(
                f"the guard's classifier, a {guard.classifier.kind}, has no gradient: wanted a "
                "network of denseam or an nn.Module"
            )
        self.guard, self.threshold = guard, guard.threshold
        self.slope, self.scale = number("slope", slope, above=0), number("scale", scale, above=0)
        self.detector = guard.detector.network
        self.classifier = guard.classifier.module
        self.training = False

    @in_full_precision
    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, C + 1) of images (B, 1, H, W) in [0, 1], or (B, ...) of N pixels.

        Raises:
            InputError: for images that are not floating, or of another size.
        """
        visible = self.visible(images)
        logits = torch.log_softmax(self.scale * self.logits(images.flatten(1), "unit"), dim=1)
        beyond = (self.score(visible) - self.threshold).clamp(-_CLIPPED, _CLIPPED)
        junk = logits.amax(dim=1) + self.slope * beyond
        return torch.cat([logits, junk[:, None]], dim=1).to(images.dtype)

    def visible(self, images: Tensor) -> Tensor:
        """Return images as (B, N) in [-1, 1].

        Raises:
            InputError: for images that are not floating, or of another size.
        """
        n_visible = self.guard.n_visible
        if not images.is_floating_point() or images[:1].numel() not in (0, n_visible):
            raise InputError(
                f"images are {tuple(images.shape)} {images.dtype}: wanted (B, 1, H, W) in [0, 1] "
                f"of {n_visible} pixels"
            )
        return 2 * images.flatten(1) - 1

    @in_full_precision
    def score(self, visible: Tensor) -> Tensor:
        """Return the detector's score (B,) float64 of images (B, N) in [-1, 1]."""
        detector = self.guard.detector
        assert isinstance(detector, NetworkDetector)  # noqa: S101 (seen to in the constructor)
        images = visible.to(self.detector.memories)
        return detector.score(evidence(self.detector, images, detector.shape, slope=True))

    @in_full_precision
    def logits(self, images: Tensor, scale: Scale = "visible") -> Tensor:
        """Return the classifier's scores (B, C) float64 of images (B, N): the argmax is its label.

        Args:
            images: the images.
            scale: their units; "visible" is [-1, 1], "unit" [0, 1].
        """
        return self.guard.classifier.class_scores(images, scale).double()

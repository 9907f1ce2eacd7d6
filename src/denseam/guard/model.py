"""GuardedModel: guard and classifier as one module, for attacks on both at once."""

import torch
from torch import Tensor, nn

from denseam.checks import number
from denseam.errors import InputError
from denseam.guard.detector import Memories
from denseam.guard.evidence import evidence
from denseam.guard.guard import Guard
from denseam.guard.members import Member, Module, Network, shown

__all__ = ["GuardedModel"]

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
        if not isinstance(guard.detector, Memories):
            raise InputError("the guard's detector has no gradient: wanted a network of denseam")
        if not isinstance(guard.classifier, Network | Module):
            raise InputError(
                f"the guard's classifier, a {guard.classifier.kind}, has no gradient: wanted a "
                "network of denseam or an nn.Module"
            )
        self.guard, self.threshold = guard, guard.threshold
        self.slope, self.scale = number("slope", slope, above=0), number("scale", scale, above=0)
        self.detector = guard.detector.network
        member = guard.classifier
        self.classifier = member.network if isinstance(member, Network) else member.module
        self.training = False

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) in [0, 1], any shape (B, ...) of N pixels -> (B, C + 1).

        Raises:
            InputError: for images that are not floating, or of another size.
        """
        visible = self.visible(images)
        logits = torch.log_softmax(self.scale * self.logits(visible), dim=1)
        beyond = (self.score(visible) - self.threshold).clamp(-_CLIPPED, _CLIPPED)
        junk = logits.amax(dim=1) + self.slope * beyond
        return torch.cat([logits, junk[:, None]], dim=1).to(images.dtype)

    def visible(self, images: Tensor) -> Tensor:
        """Images as (B, N) in [-1, 1].

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

    def score(self, visible: Tensor) -> Tensor:
        """The detector's, (B, N) in [-1, 1] -> (B,) float64, higher for more junk."""
        detector = self.guard.detector
        assert isinstance(detector, Memories)  # noqa: S101 (seen to in the constructor)
        given = visible.to(self.detector.memories)
        return detector.score(evidence(self.detector, given, detector.shape, slope=True))

    def logits(self, visible: Tensor) -> Tensor:
        """The classifier's, (B, N) in [-1, 1] -> (B, C) float64: the argmax is its label."""
        member: Member = self.guard.classifier
        if isinstance(member, Network) and member.preprocess is None:
            return member.network.exact_scores(visible.to(member.network.memories))
        given = shown(visible, member.takes, member.shape)
        if member.preprocess is not None:
            given = member.preprocess(given)
        own = next(self.classifier.parameters(), None)
        if own is not None:
            given = given.to(own)
        found: Tensor = (
            member.network.exact_scores(given) if isinstance(member, Network)
            else self.classifier(given)
        )  # fmt: skip
        return found.double()

"""Detectors: how much an image looks like junk, always the same for the same image."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from denseam.classifier import Classifier
from denseam.data.arrays import square
from denseam.errors import InputError
from denseam.guard.answers import checked_scores
from denseam.guard.blocks import SIZES, Blocks, in_chunks
from denseam.guard.evidence import Evidence, evidence, gather
from denseam.guard.scores import Score
from denseam.guard.verdict import Reason
from denseam.pretrained import load_any
from denseam.saved import describe_model

_CHUNK = 256  # images at once, whose overlaps stay in the cache


@runtime_checkable
class Scorer(Protocol):
    """Any detector of your own: an object with this method."""

    def score(self, visible: Tensor) -> Tensor:
        """Return scores (B,), higher for more junk, of images (B, N) float32 in [-1, 1]."""
        ...


class Detector:
    """Somebody's own detector, which has scores and no labels.

    Args:
        scorer: an object with ``score``, or a function like it.

    Attributes:
        endless: why an image whose score is infinite is junk.
        needs_reference: whether clean images have to be spent on ``fitted``.
        prompt: whether it only computes, on the CPU, as far as is known.
    """

    endless: Reason = "low_confidence"
    needs_reference: bool = False
    n_visible: int | None
    n_classes: int | None = None

    def __init__(self, scorer: Any) -> None:
        self.scorer = scorer
        self.n_visible = getattr(scorer, "n_visible", None)
        self._blocks = Blocks(self._columns)

    @property
    def prompt(self) -> bool:
        return False

    def fitted(self, visible: Tensor, target_rejection: float) -> "Detector":
        """Return a detector fitted to clean reference images (M, N), where there is what to fit."""
        return self

    def __call__(self, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (B,) float64 and labels (B,) of images (B, N); -1 where it has no labels.

        Raises:
            AnswerError: when the scores are not (B,) numbers.
        """
        (scores,) = self._blocks(visible.cpu())
        return scores, torch.full((len(visible),), -1)

    def describe(self) -> dict[str, Any]:
        """Return which detector it is, as plain JSON values."""
        name = getattr(self.scorer, "__qualname__", type(self.scorer).__qualname__)
        return {"kind": "custom", "type": name}

    def settings(self) -> dict[str, Any] | None:
        """Return what a guard's file holds beside ``tensors``; None where it stays outside."""
        return None

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that a guard's file holds of it."""
        return {}

    def _columns(self, block: Tensor) -> tuple[Tensor, ...]:
        ask = self.scorer.score if isinstance(self.scorer, Scorer) else self.scorer
        with torch.no_grad():
            return (checked_scores(ask(block.float()), len(block)),)


class NetworkDetector(Detector):
    """A network of the package as a detector.

    Args:
        network: the network.
        score: one or more of ``SCORES``.
        shape: (H, W) of an image; None for a row.

    Raises:
        InputError: for a score that the network does not have.
    """

    endless: Reason = "no_active_memory"

    def __init__(
        self, network: Classifier, score: Score, shape: tuple[int, int] | None = None
    ) -> None:
        if "distance" in score.parts and not network.has_energy:
            raise InputError(
                f"score = {score.name!r}: only a DenseAM has a winning memory, not a "
                f"{network.kind!r}"
            )
        super().__init__(network)
        self.network, self.score, self.shape = network, score, shape
        self.n_visible = network.n_inputs  # what its front takes
        self.n_classes, self.needs_reference = network.n_classes, score.needs_reference

    @property
    def prompt(self) -> bool:
        return self.network.memories.device.type == "cpu"

    def fitted(self, visible: Tensor, target_rejection: float) -> "NetworkDetector":
        score = Score(self.score.name, self.score.beta_sm)
        score.fit(gather(self.network, visible, self.shape), target_rejection)
        return NetworkDetector(self.network, score, self.shape)

    def __call__(self, visible: Tensor) -> tuple[Tensor, Tensor]:
        if not len(visible):
            return torch.empty(0, dtype=torch.float64), torch.empty(0, dtype=torch.int64)
        device = self.network.memories.device
        visible = visible.to(device)
        if not self.network.batch_invariant:
            scores, labels, *_ = self._blocks(visible, device)
            return scores, labels
        scores, labels = in_chunks(lambda chunk: self._judge(chunk)[:2], visible, _CHUNK)
        return scores, labels

    def describe(self) -> dict[str, Any]:
        return {"kind": "network", **describe_model(self.network)}

    def settings(self) -> dict[str, Any] | None:
        return self.network.file_facts()

    def tensors(self) -> dict[str, Tensor]:
        score = {f"score.{name}": value for name, value in self.score.tensors().items()}
        network = {f"detector.{name}": value for name, value in self.network.tensors().items()}
        return score | network

    def _judge(self, visible: Tensor) -> tuple[Tensor, Tensor, Evidence]:
        """Return scores and labels, and the evidence that they come from."""
        with torch.inference_mode():
            distance = "distance" in self.score.parts
            seen = evidence(
                self.network, visible.to(self.network.memories), self.shape, distance=distance
            )
            scores = self.score(seen.padded(SIZES[0]))[: len(visible)]
            return scores.cpu(), seen.labels.cpu(), seen

    def _columns(self, block: Tensor) -> tuple[Tensor, ...]:
        """Return what blocks are compared by: what the scores come from, too."""
        scores, labels, seen = self._judge(block)
        return scores, labels, seen.log_energy.cpu(), seen.energy_gap.cpu()


def detector_of(detector: object, score: Score, shape: tuple[int, int] | None) -> Detector:
    """Return the detector of a network, of the name or file of one, or of anybody's own.

    Raises:
        InputError: when it is none of them.
    """
    if isinstance(detector, str | Path):
        detector = load_any(detector)
    if isinstance(detector, Classifier):
        return NetworkDetector(detector, score, shape or square(detector.n_inputs))
    if isinstance(detector, Scorer) or callable(detector):
        return Detector(detector)
    raise InputError(
        f"detector: wanted a network of denseam, its name or file, or anything with "
        f"score(visible), got {type(detector).__name__}"
    )

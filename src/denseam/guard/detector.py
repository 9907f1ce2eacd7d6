"""Detectors: who says how much an image looks like junk, always the same for the same image."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from denseam.classifier import Classifier
from denseam.errors import InputError
from denseam.guard import compiled
from denseam.guard.answers import checked_scores
from denseam.guard.blocks import SIZES, Blocks
from denseam.guard.evidence import energies, evidence, gather
from denseam.guard.samples import square
from denseam.guard.scores import Score
from denseam.guard.verdict import Reason
from denseam.model import DenseAM
from denseam.pretrained import load_any
from denseam.saved import describe_model

__all__ = ["Custom", "Detector", "Memories", "Scorer", "detector_of"]


@runtime_checkable
class Scorer(Protocol):
    """Any detector of your own: an object with this method."""

    def score(self, visible: Tensor) -> Tensor:
        """(B, N) float32 in [-1, 1] -> (B,), higher for more junk."""
        ...


class Memories:
    """A network of the package as a detector.

    Args:
        network: the network.
        score: one or more of ``SCORES``.
        shape: (H, W) of an image; None for a row.

    Raises:
        InputError: for a score that the network does not have.
    """

    endless: Reason = "no_active_memory"  # why an image whose score is infinite is junk

    def __init__(
        self, network: Classifier, score: Score, shape: tuple[int, int] | None = None
    ) -> None:
        if "distance" in score.parts and not isinstance(network, DenseAM):
            raise InputError(
                f"score = {score.name!r}: only a DenseAM has a winning memory, not a "
                f"{network.kind!r}"
            )
        self.network, self.score, self.shape = network, score, shape
        self.n_visible, self.n_classes = network.n_visible, network.n_classes
        self._blocks = Blocks(self._judged, some=True)

    @property
    def prompt(self) -> bool:
        """Whether it only computes, on the CPU."""
        return self.network.memories.device.type == "cpu"

    @property
    def needs_reference(self) -> bool:
        """Whether clean images have to be spent on ``fit``."""
        return self.score.needs_reference

    def fitted(self, visible: Tensor, target_rejection: float) -> "Memories":
        """Another one of the same network, its score fitted to clean reference images (M, N)."""
        score = Score(self.score.name, self.score.beta_sm)
        score.fit(gather(self.network, visible, self.shape), target_rejection)
        return Memories(self.network, score, self.shape)

    def __call__(self, visible: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N) -> scores (B,) float64, infinite where no memory is active, and labels (B,)."""
        scores, labels, *_ = self._blocks(visible, self.network.memories.device)
        return scores, labels

    def _judged(self, block: Tensor) -> tuple[Tensor, ...]:
        """Scores and labels, and what they come from: blocks are compared by that too."""
        network, profile = self.network, self.score.profiles.get(self.score.name)
        with torch.inference_mode():
            visible = block.to(network.memories)
            if isinstance(network, DenseAM) and compiled.knows(profile, visible, network.n_classes):
                log_energy, gap, _ = energies(network, visible)
                scores, labels = compiled.score(profile, visible, self.shape, log_energy, gap)
                return scores, labels, log_energy, gap
            distance = "distance" in self.score.parts
            found = evidence(network, visible, self.shape, distance=distance).filled(SIZES[0])
            columns = self.score(found), found.labels, found.log_energy, found.energy_gap
            return tuple(column[: len(block)].cpu() for column in columns)

    def describe(self) -> dict[str, Any]:
        """Which network it is, as plain JSON values."""
        return {"kind": "network", **describe_model(self.network)}


class Custom:
    """Somebody's own detector, which has scores and no labels."""

    needs_reference = False
    endless: Reason = "low_confidence"
    prompt = False
    n_visible: int | None = None
    n_classes: int | None = None

    def __init__(self, scorer: Scorer | Callable[[Tensor], Tensor]) -> None:
        self.scorer = scorer
        self.n_visible = getattr(scorer, "n_visible", None)
        self._blocks = Blocks(self._ask)

    def fitted(self, visible: Tensor, target_rejection: float) -> "Custom":
        """The same one: nothing is learned here."""
        return self

    def __call__(self, visible: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N) -> scores (B,) float64, and -1 for each label.

        Raises:
            AnswerError: when the scores are not (B,) numbers.
        """
        (scores,) = self._blocks(visible)
        return scores, torch.full((len(visible),), -1)

    def _ask(self, block: Tensor) -> tuple[Tensor]:
        ask = self.scorer.score if isinstance(self.scorer, Scorer) else self.scorer
        with torch.no_grad():
            return (checked_scores(ask(block.float()), len(block)),)

    def describe(self) -> dict[str, Any]:
        """What it is called, as plain JSON values."""
        return {"kind": "custom", "type": _name(self.scorer)}


Detector = Memories | Custom


def detector_of(given: object, score: Score, shape: tuple[int, int] | None) -> Detector:
    """The detector of a network, the name or file of one, or anybody's own.

    Raises:
        InputError: when it is none of them.
    """
    if isinstance(given, str | Path):
        given = load_any(given)
    if isinstance(given, Classifier):
        return Memories(given, score, shape or square(given.n_visible))
    if isinstance(given, Scorer) or callable(given):
        return Custom(given)
    raise InputError(
        f"detector: wanted a network of denseam, its name or file, or anything with "
        f"score(visible), got {type(given).__name__}"
    )


def _name(thing: object) -> str:
    return getattr(thing, "__qualname__", type(thing).__qualname__)

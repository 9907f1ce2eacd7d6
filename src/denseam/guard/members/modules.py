"""Networks of the package and other modules, which compute in this process and have gradients."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from denseam.classifier import Classifier
from denseam.data.pixels import Scale
from denseam.errors import InputError
from denseam.guard.answers import to_labels
from denseam.guard.blocks import Blocks, in_chunks
from denseam.guard.members.base import Member, Takes, shown
from denseam.guard.saving import Saved
from denseam.heads import check_deterministic, logits_of, with_logits
from denseam.pretrained import load_any
from denseam.saved import describe_model, restore

_CHUNK = 256  # images at once, whose overlaps stay in the cache


class Module(Member):
    """An ``nn.Module`` that returns scores (B, C) or labels (B,).

    Raises:
        InputError: while dropout or batch normalisation are training; when asked, too.
    """

    kind = "module"
    module: nn.Module

    def __init__(self, classifier: nn.Module, **options: Any) -> None:
        super().__init__(classifier, **options)
        check_deterministic(classifier)
        self.module = classifier
        self._blocks = Blocks(self._columns, black=self._black)

    @classmethod
    def serves(cls, classifier: object) -> bool:
        return isinstance(classifier, nn.Module)

    def class_scores(self, images: Tensor, scale: Scale = "visible") -> Tensor:
        prepared = self._prepared(shown(images, scale, self.takes, self.shape))
        weights = next(self.module.parameters(), None)
        scores = self._scores(prepared if weights is None else prepared.to(weights))
        return logits_of(scores, len(images))

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), **describe_model(self.module)}

    def _labels(self, images: Tensor) -> Tensor:
        check_deterministic(self.module)
        weights = next(self.module.parameters(), None)
        device = None if weights is None else weights.device
        if self.preprocess is not None:  # written for images on the CPU
            images = images.cpu()
        elif device is not None:
            images = images.to(device)
        (answers,) = self._blocks(images, device)
        return to_labels(answers, len(images))

    def _ask(self, images: Any) -> Any:
        weights = next(self.module.parameters(), None)
        if weights is not None and isinstance(images, Tensor):
            floating = images.is_floating_point()
            images = images.to(weights.device, weights.dtype if floating else None)
        with torch.no_grad():
            return self._scores(images)

    def _scores(self, images: Any) -> Any:
        return with_logits(self.module(images))


class Network(Module):
    """A network of the package, its name or its file.

    It takes "visible"; with a preprocessing, anything.

    Raises:
        InputError: for other ``takes`` without a preprocessing.
    """

    kind = "network"
    restorable: ClassVar[bool] = True
    takes: Takes = "visible"

    def __init__(self, classifier: Classifier | str | Path, **options: Any) -> None:
        network = load_any(classifier) if isinstance(classifier, str | Path) else classifier
        super().__init__(network, **options)
        if self.takes != "visible" and self.preprocess is None:
            raise InputError(
                f"takes = {self.takes!r}: a network of denseam takes 'visible', or what a "
                "preprocess makes of others"
            )
        self.network = network
        self.n_classes = network.n_classes
        self.prompt = self.preprocess is None and network.memories.device.type == "cpu"

    @classmethod
    def serves(cls, classifier: object) -> bool:
        return isinstance(classifier, Classifier | str | Path)

    def settings(self) -> dict[str, Any]:
        return self.network.file_facts()

    def tensors(self) -> dict[str, Tensor]:
        return self.network.tensors()

    @classmethod
    def restore(cls, saved: Saved) -> object:
        facts = saved.facts["classifier"]
        network = restore(saved.inside("classifier"), facts["settings"], saved.file)
        return network.to(saved.device)

    def _labels(self, images: Tensor) -> Tensor:
        if self.preprocess is not None or not self.network.batch_invariant:
            return super()._labels(images)
        return in_chunks(lambda chunk: (self._ask(chunk).argmax(dim=1),), images, _CHUNK)[0]

    def _ask(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            images = images.to(self.network.memories)
            known = self.network.has_energy
            return self.network.energies(images)[0] if known else self.network.exact_scores(images)

    def _scores(self, images: Tensor) -> Tensor:
        return self.network.exact_scores(images)

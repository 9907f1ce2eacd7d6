"""Estimators and functions, which take arrays and tensors on the CPU."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from denseam.guard.members.base import Member, Takes

__all__ = ["Estimator", "Function"]


class Estimator(Member):
    """Anything with scikit-learn's ``predict``; labels that are no whole numbers count from 0."""

    kind = "estimator"
    takes: Takes = "flat"

    def __init__(self, classifier: Any, **options: Any) -> None:
        super().__init__(classifier, **options)
        classes = getattr(classifier, "classes_", None)
        self.classes = None if classes is None else np.asarray(classes)
        self.n_classes = None if self.classes is None else _n_classes(self.classes)

    @classmethod
    def serves(cls, classifier: object) -> bool:
        return callable(getattr(classifier, "predict", None))

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "type": type(self.classifier).__qualname__}

    def _ask(self, images: Any) -> Any:
        array = images.numpy() if isinstance(images, Tensor) else images
        labels = np.asarray(self.classifier.predict(array))
        if self.classes is None or np.issubdtype(labels.dtype, np.integer):
            return labels
        return np.searchsorted(self.classes, labels)  # classes_ are sorted


class Function(Member):
    """Any function of images that returns scores (B, C) or labels (B,)."""

    kind = "function"

    @classmethod
    def serves(cls, classifier: object) -> bool:
        return callable(classifier)

    def describe(self) -> dict[str, Any]:
        function = self.classifier
        name = getattr(function, "__qualname__", type(function).__qualname__)
        return {**super().describe(), "type": name}

    def _ask(self, images: Any) -> Any:
        return self.classifier(images)


def _n_classes(classes: NDArray[Any]) -> int:
    """Return one more than the largest label: whole numbers are labels as they are."""
    whole = np.issubdtype(classes.dtype, np.integer) and classes.size
    return 1 + int(classes.max()) if whole else len(classes)

"""Estimators and functions, which take arrays and tensors on the CPU."""

from typing import Any

import numpy as np
from torch import Tensor

from denseam.errors import AnswerError, InputError
from denseam.guard.answers import are_scores, label_numbers
from denseam.guard.members.base import Member, Takes


class Estimator(Member):
    """Anything with scikit-learn's ``predict``, whose labels stay its own; see ``label_number``.

    Raises:
        InputError: for ``classes_`` of other labels, or of several outputs.
    """

    kind = "estimator"
    takes: Takes = "flat"

    def __init__(self, classifier: Any, **options: Any) -> None:
        super().__init__(classifier, **options)
        classes = getattr(classifier, "classes_", None)
        if classes is not None and len(classes):
            try:
                known = label_numbers(classes, self.class_names)
            except AnswerError as error:
                reason = str(error).removeprefix("the classifier returned ")
                raise InputError(f"classes_ of the classifier: {reason}") from error
            if known.ndim != 1 or len(set(known.tolist())) < len(known):
                raise InputError(
                    f"classes_ of the classifier are {str(classes)[:80]}: wanted labels of one "
                    "output, all different"
                )
            self.n_classes = 1 + int(known.max())

    @classmethod
    def serves(cls, classifier: object) -> bool:
        return callable(getattr(classifier, "predict", None))

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "type": type(self.classifier).__qualname__}

    def _ask(self, images: Any) -> Any:
        array = images.numpy() if isinstance(images, Tensor) else images
        answer = self.classifier.predict(array)
        return np.asarray(answer) if are_scores(answer) else label_numbers(answer, self.class_names)


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

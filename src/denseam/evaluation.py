"""Errors of a model on a set of images."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from denseam.classifier import Classifier
from denseam.data import Examples, ImageSet
from denseam.errors import InputError
from denseam.fronts import Front
from denseam.heads import check_deterministic, check_repeatable
from denseam.image_classifier import VisibleModule
from denseam.kernels.autograd import CHUNK
from denseam.showing import Drawn, Shown, Tabular

__all__ = ["Evaluation", "constant_answer", "evaluate", "predict_images"]


@dataclass(frozen=True, repr=False)
class Evaluation(Shown, Drawn, Tabular):
    """The result of ``evaluate``. Errors are fractions of 1.

    Attributes:
        n_images: M.
        error: of all images.
        error_interval: 95 %, Wilson.
        class_errors: (C,); NaN for a class without images.
        confusion: (C, C): [right class][predicted class], counts.
        mean_activity: mean of |Y| over images and classes; NaN for a module of others.
        seconds_per_1000: for 1000 images, labels only.
        name: of the images.
        class_names: C names.
    """

    _figure: ClassVar[str] = "confusion"

    n_images: int
    error: float
    error_interval: tuple[float, float]
    class_errors: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]
    mean_activity: float
    seconds_per_1000: float
    name: str = "images"
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = map(str, range(len(self.class_names), len(self.confusion)))
        object.__setattr__(self, "class_names", (*self.class_names, *missing))

    def _summary(self) -> str:
        low, high = (100 * end for end in self.error_interval)
        return (
            f"{self.name}: error {100 * self.error:.2f} % of {self.n_images} images, "
            f"95 % interval {low:.2f} to {high:.2f} %"
        )

    def _columns(self) -> dict[str, list[Any]]:
        columns = zip(*self.confusion, strict=True)
        labels = {f"label {n}": list(c) for n, c in zip(self.class_names, columns, strict=True)}
        return {
            "class": list(self.class_names),
            "images": [sum(row) for row in self.confusion],
            "error": list(self.class_errors),
            **labels,
        }

    def to_json(self) -> dict[str, object]:
        """Return plain JSON values; a class without images has error null."""
        errors = [None if math.isnan(e) else e for e in self.class_errors]
        numbers = {k: v for k, v in self.__dict__.items() if k not in ("name", "class_names")}
        if math.isnan(self.mean_activity):
            numbers["mean_activity"] = None
        return {**numbers, "class_errors": errors}


def evaluate(model: Classifier | VisibleModule, images: Examples) -> Evaluation:
    """Measure error, errors by class, confusions, mean |Y| and speed of a model on a set.

    Args:
        model: any network of the package, which labels by the argmax of Y; or a module of others,
            see ``VisibleModule``, which labels by the argmax of its logits.
        images: with the right labels; they are moved to the model's dtype and device in chunks.

    Returns:
        An ``Evaluation``, its errors as fractions of 1.

    Raises:
        InputError: when the images do not fit the model, or its front answers by chance.
    """
    if not isinstance(model, VisibleModule):
        check_fit(model, images)
        check_front(model, images)
    start = time.perf_counter()
    activity = math.nan
    if isinstance(model, VisibleModule):
        predicted, C = _labels_of_module(model, images)
        seconds = time.perf_counter() - start
    else:
        predicted, C = predict_images(model, images), model.n_classes
        seconds = time.perf_counter() - start
        with torch.no_grad():
            chunks = visible_parts(model, images)
            activity = sum(float(model(visible).abs().sum()) for visible in chunks)
    confusion = torch.bincount(images.labels * C + predicted.cpu(), minlength=C * C).view(C, C)
    correct, counts = confusion.diagonal(), confusion.sum(dim=1)
    wrong = len(images) - int(correct.sum())
    return Evaluation(
        n_images=len(images),
        error=wrong / len(images),
        error_interval=wilson_interval(wrong, len(images)),
        class_errors=tuple((1 - correct / counts).tolist()),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        mean_activity=activity / (len(images) * C),
        seconds_per_1000=1000 * seconds / len(images),
        name=images.name,
        class_names=images.class_names,
    )


def _labels_of_module(module: VisibleModule, images: Examples) -> tuple[Tensor, int]:
    """Return labels (M,) and the number C of classes of a module of others."""
    weight = next(module.parameters(), torch.empty(0))
    labels, C = [], 0
    for start in range(0, len(images), CHUNK):
        chunk = images.subset(slice(start, start + CHUNK))
        with torch.no_grad():
            logits = module(chunk.inputs(weight.dtype, weight.device))
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(chunk):
            form = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise InputError(f"the module returned {form}: wanted logits ({len(chunk)}, C)")
        C = logits.shape[1]
        if images.n_classes > C:
            raise InputError(f"{images.name}: {images.n_classes} classes, but the module has {C}")
        labels.append(logits.argmax(dim=1))
    return torch.cat(labels), C


def constant_answer(images: Examples) -> tuple[str, float]:
    """Return the class that most examples have, and the error of always answering it.

    >>> import torch
    >>> constant_answer(ImageSet(torch.zeros(4, 2, 2), torch.tensor([0, 1, 1, 1]), n_classes=2))
    ('1', 0.25)
    """
    counts = images.class_counts()
    return images.class_names[int(counts.argmax())], 1 - int(counts.max()) / len(images)


def predict_images(model: Classifier, images: Examples) -> Tensor:
    """Return labels of a whole set, (M,) int64; memory does not grow with M."""
    return torch.cat([model.predict(visible) for visible in visible_parts(model, images)])


def visible_parts(model: Classifier, images: Examples) -> Iterator[Tensor]:
    """Yield the set as inputs (<= CHUNK, n_inputs), in the model's ``input_dtype``, where it is."""
    for start in range(0, len(images), CHUNK):
        chunk = images.subset(slice(start, start + CHUNK))
        yield chunk.inputs(model.input_dtype, model.memories.device)


def check_fit(model: Classifier, images: Examples) -> None:
    """Check that examples have the model's number of inputs and no more than its classes."""
    if not isinstance(model, Classifier):
        raise InputError(
            f"wanted a network of denseam, not {type(model).__name__}: a module that takes images "
            "in [0, 1] goes into denseam.VisibleModule(module, input_shape)"
        )
    if images.n_inputs != model.n_inputs:
        if isinstance(images, ImageSet):
            sides = " x ".join(map(str, images.input_shape))
            size = f"images of {sides} = {images.n_inputs} pixels"
        else:
            size = f"rows of {images.n_inputs} features"
        raise InputError(f"{images.name}: {size}, but the model has n_visible = {model.n_inputs}")
    if images.n_classes > model.n_classes:
        raise InputError(
            f"{images.name}: {images.n_classes} classes, but the model has {model.n_classes}"
        )


def check_front(model: Classifier, images: Examples) -> None:
    """Raise InputError for a front that answers by chance: training dropout, noise of its own."""
    if isinstance(model.front, nn.Identity | Front):
        return  # these do not
    check_deterministic(model)
    with torch.no_grad():
        first = next(visible_parts(model, images))
        scores, again = (model.log_energy(first).double() for _ in range(2))
    check_repeatable(scores, again, first.dtype)


def wilson_interval(count: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the 95 % interval of a proportion, valid also at 0 and n (Wilson 1927)."""
    p, d = count / n, z * z / n
    middle = (p + d / 2) / (1 + d)
    half = z / (1 + d) * math.sqrt(p * (1 - p) / n + d / (4 * n))
    return max(0.0, middle - half), min(1.0, middle + half)

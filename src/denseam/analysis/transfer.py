"""Transfer of images made against one model to other models (Figs. 5 and 7)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from denseam.analysis.confidence import BETA_SM, confidence
from denseam.checks import is_number, numbers
from denseam.classifier import Classifier
from denseam.data import Examples
from denseam.errors import InputError
from denseam.evaluation import check_fit, check_front, predict_images, wilson_interval
from denseam.showing import Drawn, Shown, Tabular


@dataclass(frozen=True, eq=False, repr=False)
class TransferTable(Shown, Drawn, Tabular):
    """One number for each pair of an image set, made against a source, and a victim: (R, V).

    Attributes:
        sources: (R,) names.
        victims: (V,) names.
        values: (R, V) float64, fractions.
        intervals: (R, V, 2) float64, 95 %.
        counts: (R,) images of each set.
        quantity: what the numbers are.
    """

    _figure: ClassVar[str] = "transfer"

    sources: tuple[str, ...]
    victims: tuple[str, ...]
    values: Tensor
    intervals: Tensor
    counts: tuple[int, ...]
    quantity: str = "error"

    def _summary(self) -> str:
        R, V = len(self.sources), len(self.victims)
        low, high = (100 * float(end) for end in torch.aminmax(self.values))
        return f"{self.quantity} of {V} models on {R} sets, {low:.2f} to {high:.2f} %"

    def _columns(self) -> dict[str, list[Any]]:
        V = len(self.victims)
        low, high = self.intervals.flatten(0, 1).T.tolist()
        return {
            "made against": [name for name in self.sources for _ in range(V)],
            "model": [*self.victims] * len(self.sources),
            self.quantity: self.values.flatten().tolist(),
            "low": low,
            "high": high,
            "images": [count for count in self.counts for _ in range(V)],
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values of the table."""
        return {
            name: value.tolist() if isinstance(value, Tensor) else list(value)
            for name, value in vars(self).items()
            if name != "quantity"
        }


def transfer_errors(
    models: Mapping[str, Classifier], sets: Mapping[str, Examples]
) -> TransferTable:
    """Measure the error of every model on every set (Fig. 5), by the sets' right labels.

    All images count, also those whose descent failed; ``Examples.subset`` leaves some out.

    Args:
        models: the victims, by name.
        sets: image sets, by the name of their source; clean images may be among them.

    Raises:
        InputError: when there is no model or no set, or a set does not fit a model.
    """

    def error(name: str, images: Examples) -> tuple[float, tuple[float, float]]:
        wrong = int((predict_images(models[name], images).cpu() != images.labels).sum())
        return wrong / len(images), wilson_interval(wrong, len(images))

    return _table(models, sets, error)


def transfer_confidence(
    models: Mapping[str, Classifier],
    sets: Mapping[str, Examples],
    beta_sm: float | Sequence[float] = BETA_SM,
) -> TransferTable:
    """Measure the mean confidence of every model on every set (Fig. 7), with a 95 % interval.

    Args:
        models: the victims, by name.
        sets: image sets, by the name of their source.
        beta_sm: one for all models, or one for each.

    Raises:
        InputError: as ``transfer_errors``, and when there is not one beta_sm for each model.
    """
    betas = numbers("beta_sm", beta_sm, above=0) * (len(models) if is_number(beta_sm) else 1)
    if len(betas) != len(models):
        raise InputError(f"{len(betas)} values of beta_sm for {len(models)} models")
    beta_of = dict(zip(models, betas, strict=True))

    def mean(name: str, images: Examples) -> tuple[float, tuple[float, float]]:
        model = models[name]
        visible = images.inputs(model.memories.dtype, model.memories.device)
        Z = confidence(model, visible, beta_of[name]).double()
        middle = float(Z.mean())
        half = 1.959964 * float(Z.std()) / len(Z) ** 0.5 if len(Z) > 1 else 1.0
        return middle, (max(0.0, middle - half), min(1.0, middle + half))

    return replace(_table(models, sets, mean), quantity="mean confidence")


def _table(
    models: Mapping[str, Classifier],
    sets: Mapping[str, Examples],
    measure: Callable[[str, Examples], tuple[float, tuple[float, float]]],
) -> TransferTable:
    if not models or not sets:
        raise InputError(f"{len(models)} models and {len(sets)} sets: wanted one of each at least")
    for model in models.values():
        for images in sets.values():
            check_fit(model, images)
            check_front(model, images)
    rows = [[measure(name, images) for name in models] for images in sets.values()]
    return TransferTable(
        tuple(sets),
        tuple(models),
        torch.tensor([[value for value, _ in row] for row in rows], dtype=torch.float64),
        torch.tensor([[interval for _, interval in row] for row in rows], dtype=torch.float64),
        tuple(len(images) for images in sets.values()),
    )

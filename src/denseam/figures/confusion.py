"""Confusions of a model: how many images of each class got which label."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from denseam.evaluation import Evaluation
from denseam.figures import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CELL = 0.27  # inches
_NUMBERS = 24  # classes, at most, whose cells hold numbers


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts of labels for the images of each class."""

    class_names: tuple[str, ...]  # C
    counts: Tensor  # (C, C): [right class][label]

    def __post_init__(self) -> None:
        C = len(self.class_names)
        canvas.check_shape("counts", self.counts, C, C)


def record_of(evaluation: Evaluation) -> Confusion:
    """Return the record of an evaluation."""
    return Confusion(evaluation.class_names, torch.tensor(evaluation.confusion))


def plot(record: Any, ax: "Axes") -> None:
    """Draw a cell for each class (row) and label (column): the darker, the larger its share.

    Args:
        record: a ``Confusion``, or an ``Evaluation``.
        ax: where to.
    """
    record = canvas.as_record(record, Confusion, record_of)
    counts = record.counts.double()
    shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    # Errors are rare: on a scale of shares they would be as white as none.
    ax.imshow(shares.sqrt().tolist(), cmap="Blues", vmin=0, vmax=1)
    places = range(len(record.class_names))
    names = [canvas.literal(name) for name in record.class_names]
    longest = max(map(len, names))
    ax.set_xticks(places, names, rotation=90 if longest > 3 else 0)
    ax.set_yticks(places, names)
    ax.tick_params(length=0)
    ax.set(xlabel="label of the model", ylabel="right class")
    if len(names) > _NUMBERS:
        return
    for i, row in enumerate(record.counts.tolist()):
        for j, count in enumerate(row):
            if count:
                colour = "white" if shares[i, j] > 0.3 else "black"
                ax.text(j, i, f"{count}", ha="center", va="center_baseline", color=colour,
                        fontsize=6)  # fmt: skip


def layout(record: Confusion) -> dict[str, Any]:
    """Return the size of the figure, inches."""
    C, longest = len(record.class_names), max(map(len, record.class_names))
    side = max(2.2, min(C, 2 * _NUMBERS) * _CELL) + 0.5 + 0.06 * longest
    return {"size": (side, side)}


save = canvas.saver(plot, layout, Confusion, record_of)

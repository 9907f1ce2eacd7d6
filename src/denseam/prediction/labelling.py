"""From anything to labels: read, prepare, look, say which memories decided."""

import os
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from denseam.analysis.confidence import BETA_SM
from denseam.checks import number, whole
from denseam.classifier import Classifier
from denseam.errors import InputError
from denseam.fronts.centring import Invert
from denseam.memory import DenseMemories
from denseam.prediction.result import Memory, Prediction, Predictions
from denseam.prediction.rows import Row, batches
from denseam.prediction.sources import rows_of
from denseam.pretrained import load_any


def predict(
    what: object,
    model: str | os.PathLike[str] | Classifier = "mnist-n30",
    *,
    invert: Invert | None = None,
    centre: bool | Literal["auto"] | None = None,
    beta_sm: float | None = None,
    memories: int = 3,
    part: Literal["test", "train"] = "test",
    device: torch.device | str = "cpu",
) -> Predictions:
    """Say what pictures, or rows of a table, are.

    Args:
        what: a picture: a path, the bytes of a file, a binary file, a picture of Pillow, an array
            (H, W) or (H, W, 3) of bytes; a folder, with all pictures below it; a pattern such as
            "scans/*.png"; the name or the file of a set; arrays as ``model.as_inputs`` takes them;
            or a list of pictures.
        model: a name, a file, a run folder, or a network of this package.
        invert: True for dark ink on light paper, False for light ink on dark; by default as the
            model was trained, see ``fronts.preparation_of``.
        centre: whether to centre ink as MNIST does; by default as the model was trained.
        beta_sm: of the confidence; by default the model's own, or the paper's 3.2.
        memories: how many of those that decided to name.
        part: of a data set with both.
        device: of the model, where it is loaded here.

    Returns:
        ``Predictions``, a row for each picture (for each page of a file with several). What cannot
        be read is a row with an error.

    Raises:
        InputError: when there is nothing to label, or the model does not take it.

    >>> from denseam import data
    >>> predict(data.load("mnist").test.images[0]).labels
    tensor([7])
    """
    name = type(model).__name__ if isinstance(model, Classifier) else str(os.fspath(model))
    network = model if isinstance(model, Classifier) else load_any(name, device=device)
    known = network.trained_on
    measured = known.beta_sm if known is not None else None
    beta = number("beta_sm", BETA_SM if measured is None else measured, above=0)
    if beta_sm is not None:
        beta = number("beta_sm", beta_sm, above=0)
    look = _Look(network, beta, whole("memories", memories, 0))
    rows, seen = list[Prediction](), list[Tensor]()
    for group, inputs in batches(rows_of(what, network, invert=invert, centre=centre, part=part)):
        rows += look(group, inputs)
        if inputs is not None:
            seen.append(inputs)
    if not rows:
        raise InputError(f"{what!r:.80}: no picture there")
    calibrated = beta_sm is None and measured is not None
    inputs = torch.cat(seen) if seen else torch.empty(0)
    return Predictions(name, rows, inputs, beta_sm=beta, calibrated=calibrated)


class _Look:
    """How a model looks at a batch: labels, confidences, and the memories that decided."""

    def __init__(self, model: Classifier, beta_sm: float, memories: int) -> None:
        self.model, self.beta_sm = model, beta_sm
        self.count = min(memories, model.n_memories) if isinstance(model, DenseMemories) else 0
        known = model.trained_on
        names = () if known is None else known.class_names
        self.names = [*names, *map(str, range(len(names), model.n_classes))]

    @torch.no_grad()
    def __call__(self, rows: list[Row], inputs: Tensor | None) -> Iterator[Prediction]:
        """Yield the predictions of rows; ``inputs`` (B, ...) belong to those that have any."""
        labelled = iter(()) if inputs is None else self._labelled(inputs)
        for row in rows:
            if row.inputs is None:
                yield Prediction(row.name, error=row.error, looked_at=False)
            else:
                yield Prediction(row.name, **next(labelled))

    def _labelled(self, inputs: Tensor) -> Iterator[dict[str, Any]]:
        model = self.model
        x = model.as_inputs(inputs.flatten(1) if len(inputs.shape) > 2 else inputs)
        scores = model.log_energy(x).double()
        labels = model.predict(x)
        confidences = torch.softmax(self.beta_sm * model(x).double(), dim=1)
        others = scores.scatter(1, labels[:, None], -torch.inf)
        active = scores.isfinite().any(dim=1).tolist()
        votes = self._votes(model.visible(x), labels) if self.count else [()] * len(labels)
        columns = (labels.tolist(), confidences.tolist(), others.argmax(dim=1).tolist())
        for label, shares, second, on, deciding in zip(*columns, active, votes, strict=True):
            if not on:
                yield {"error": "no memory is active: it looks like nothing that was learned"}
                continue
            yield {
                "label": label,
                "class_name": self.names[label],
                "confidence": shares[label],
                "runner_up": self.names[second] if len(self.names) > 1 else None,
                "memories": deciding,
            }

    def _votes(self, visible: Tensor, labels: Tensor) -> list[tuple[Memory, ...]]:
        """Return the memories with the largest shares of the energy of each label."""
        model: Any = self.model
        classes = model.class_memories.double()  # (K, C)
        off = visible.double() @ model.visible_memories.double().T - classes.sum(dim=1)
        shares = torch.softmax(model.energy.log(off + 2 * classes.T[labels]), dim=1)  # (B, K)
        best = shares.nan_to_num(0).topk(self.count, dim=1)
        firmest = classes.argmax(dim=1).tolist()
        return [
            tuple(
                Memory(k, share, self.names[firmest[k]])
                for k, share in zip(positions, parts, strict=True)
                if share > 0
            )
            for positions, parts in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

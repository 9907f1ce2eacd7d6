"""Records of generated images: facts of each, (M,), and metadata of the set.

Facts of every set; distances are in visible units:

    top, target         the model's choice at the start (or the right class), and where it was led
    predicted, scores   the model's label of the image, and its Y (outputs of other modules)
    success, stopped    whether it got there, and why it stopped: positions in metadata["stopped"]
    steps, l2, linf, l0 how many, and how far
    source              row in the source set

Boundary sets add ``margin``, ``boundary_l2``, ``boundary_linf`` and what ``keep`` names; sets of
attacks of a given size ``eps``. ``metadata`` says which model, images and parameters made them.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from denseam.checks import plain
from denseam.classifier import Classifier
from denseam.data import ImageSet
from denseam.data.imageset import only_pictures
from denseam.descent.batch import check_images, in_chunks
from denseam.descent.goals import loss_power_of
from denseam.descent.result import DescentResult, Stop, code
from denseam.errors import InputError
from denseam.heads import logits_of
from denseam.image_classifier import VisibleModule
from denseam.precision import full_precision
from denseam.saved import describe_model

REACHED = 0.5  # Y of a class that an image has come to

# Parameters that do not change the images, or are recorded otherwise.
_NOT_RECORDED = (
    "chunk", "converge", "exact", "on_progress", "on_step", "samples", "shape", "start",
)  # fmt: skip

# Options that older versions did not have: sets made by these are the same without them.
_ONLY_WHERE_USED = ("eight_bit",)


def inputs(model: nn.Module, images: ImageSet, shape: Sequence[int] | None) -> Tensor:
    """Return images as the model takes them, (M, *shape), of its dtype and on its device."""
    images = only_pictures(images, "an attack")
    shape = tuple(shape or (images.n_visible,))
    weight = next(model.parameters(), None)
    visible = images.visible(torch.float32 if weight is None else weight.dtype)
    if weight is not None:
        visible = visible.to(weight.device)
    if visible.numel() != len(images) * torch.Size(shape).numel():
        raise InputError(f"input_shape = {shape}: images have {images.n_visible} pixels")
    flat = shape == (images.n_visible,) and not isinstance(model, Classifier | VisibleModule)
    visible = visible.reshape(-1, *shape)
    check_images(model, visible)
    if flat:
        _check_takes_flat(model, visible[:1], images)
    return visible


def _check_takes_flat(model: nn.Module, visible: Tensor, images: ImageSet) -> None:
    """Raise InputError for a module of others that does not take flat images (B, N)."""
    try:
        with torch.no_grad():
            model(visible.clone())
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise InputError(
            f"the module does not take flat images {tuple(visible.shape)}: say input_shape, such "
            f"as (1, {', '.join(map(str, images.shape))}), or put one that takes images in [0, 1] "
            "into denseam.VisibleModule"
        ) from error


def outputs(model: nn.Module, visible: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Return labels (B,) and scores (B, C): Y of a network, the outputs of another module."""

    def run(rows: slice) -> list[Tensor]:
        with torch.no_grad(), full_precision(visible):
            if isinstance(model, Classifier):  # Y may have saturated
                return [model.predict(visible[rows]), model(visible[rows])]
            scores = logits_of(model(visible[rows].clone()), len(visible[rows]))
        return [scores.argmax(dim=1), scores]

    labels, scores = in_chunks(run, len(visible), chunk)
    return labels, scores


def facts_of(
    model: nn.Module, result: DescentResult, source: Tensor, chunk: int
) -> dict[str, Tensor]:
    """Return the facts that every set has, (M,) each; ``source`` (M,) is one of them."""
    predicted, scores = outputs(model, result.images, chunk)
    return {
        "source": source,
        "top": result.labels,
        "target": result.targets,
        "predicted": predicted,
        "scores": scores,
        "success": result.success,
        "stopped": torch.tensor([code(reason) for reason in result.stopped], dtype=torch.int8),
        "steps": result.steps,
        "l2": result.distances.l2,
        "linf": result.distances.linf,
        "l0": result.distances.l0,
    }


def reached(images: ImageSet) -> Tensor:
    """Return which images of a rubbish set have become their class, (M,) bool, converged or not.

    They are labelled as it, and its Y has come more than half way from 0 to t = 1: noise that is
    stuck where hardly a memory is active is labelled too, but Y stays near 0 there.

    Raises:
        InputError: for a set without scores.
    """
    if not {"predicted", "scores"} <= images.facts.keys():
        raise InputError(f"{images.name}: wanted a set made by `denseam rubbish`")
    Y = images.facts["scores"].gather(1, images.labels[:, None])[:, 0]
    return (images.facts["predicted"] == images.labels) & (Y > REACHED)


def describe(
    kind: str,
    model: nn.Module,
    images: ImageSet | None,
    procedure: Callable[..., Any],
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the metadata of a set: what made it, with the defaults that were not given.

    Raises:
        InputError: for images that may leave [-1, 1].
    """
    if not given.get("clip", True):
        raise InputError("clip = False: an image set holds pixels in [-1, 1]")
    parameters = {
        p.name: p.default
        for p in inspect.signature(procedure).parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.default is not p.empty and p.name not in _NOT_RECORDED
    } | {name: plain(value) for name, value in given.items()}
    parameters = {k: v for k, v in parameters.items() if v or k not in _ONLY_WHERE_USED}
    if parameters.get("loss_power", 0) is None:
        parameters["loss_power"] = loss_power_of(model, None)
    return {
        "made_by": kind,
        "model": describe_model(model),
        "images": None if images is None else {"name": images.name, "sha256": images.digest()},
        "parameters": parameters,
        "stopped": [str(reason) for reason in Stop],
        "scores": "Y" if isinstance(model, Classifier) else "outputs of the module",
        "units": "pixels and distances in visible units, black -1, white +1",
    }

"""What is written down of generated images: facts for each, metadata for the set."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from denseam.checks import plain
from denseam.classifier import Classifier
from denseam.data import ImageSet
from denseam.descent.common import check_images, in_parts, loss_power_of
from denseam.descent.result import DescentResult, Stop, code
from denseam.errors import InputError
from denseam.saved import describe_model

__all__ = ["describe", "facts_of", "inputs", "outputs", "reached", "to_set"]


REACHED = 0.5  # Y of a class that an image has come to

# Arguments that do not change the images, or are written down otherwise.
_NO_MATTER = ("chunk", "converge", "on_progress", "on_step", "samples", "shape", "start")


def inputs(model: nn.Module, images: ImageSet, shape: Sequence[int] | None) -> Tensor:
    """The images as the model takes them, (M, *shape), of its dtype and on its device."""
    shape = tuple(shape or (images.n_visible,))
    own = next(model.parameters(), None)
    visible = images.visible(torch.float32 if own is None else own.dtype)
    if own is not None:
        visible = visible.to(own.device)
    if visible.numel() != len(images) * torch.Size(shape).numel():
        raise InputError(f"input_shape = {shape}: images have {images.n_visible} pixels")
    visible = visible.reshape(-1, *shape)
    check_images(model, visible)
    return visible


def outputs(model: nn.Module, visible: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Labels (B,) and scores (B, C): Y of a network, what another module returns."""

    def run(part: slice) -> list[Tensor]:
        with torch.no_grad():
            scores = model(visible[part])
        if isinstance(model, Classifier):  # Y may have saturated
            return [model.predict(visible[part]), scores]
        return [scores.argmax(dim=1), scores]

    labels, scores = in_parts(run, len(visible), chunk)
    return labels, scores


def facts_of(
    model: nn.Module, found: DescentResult, source: Tensor, chunk: int
) -> dict[str, Tensor]:
    """The facts that every set has; see ``sets``. ``source`` is (M,)."""
    predicted, scores = outputs(model, found.images, chunk)
    facts = {
        "source": source,
        "top": found.labels,
        "target": found.targets,
        "predicted": predicted,
        "scores": scores,
        "success": found.success,
        "stopped": torch.tensor([code(reason) for reason in found.stopped], dtype=torch.int8),
        "steps": found.steps,
        "l2": found.distances.l2,
        "linf": found.distances.linf,
        "l0": found.distances.l0,
    }
    return {name: value.cpu() for name, value in facts.items()}


def reached(images: ImageSet) -> Tensor:
    """Which images of a rubbish set are what their class wants, (M,) bool, converged or not.

    They are labelled as it, and its Y has come more than half way from 0 to t = 1: noise that is
    stuck where next to no memory is active is labelled too, but Y stays near 0 there.

    Raises:
        InputError: for a set without scores.
    """
    if not {"predicted", "scores"} <= images.facts.keys():
        raise InputError(f"{images.name}: wanted a set made by `denseam rubbish`")
    own = images.facts["scores"].gather(1, images.labels[:, None])[:, 0]
    return (images.facts["predicted"] == images.labels) & (own > REACHED)


def describe(
    kind: str,
    model: nn.Module,
    images: ImageSet | None,
    procedure: Callable[..., Any],
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """The metadata of a set: what made it, JSON-able, with the defaults that were not given.

    Raises:
        InputError: for images that may leave [-1, 1].
    """
    if not given.get("clip", True):
        raise InputError("clip = False: an image set holds pixels in [-1, 1]")
    signature = inspect.signature(procedure).parameters.values()
    defaults = {p.name: p.default for p in signature if p.kind is p.KEYWORD_ONLY}
    parameters = {k: v for k, v in defaults.items() if k not in _NO_MATTER}
    parameters |= {name: plain(value) for name, value in given.items()}
    has_objective = {"loss", "loss_power"} & parameters.keys()
    if has_objective and parameters.get("loss_power") is None:
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


def to_set(
    visible: Tensor,
    labels: Tensor,
    like: ImageSet,
    facts: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
) -> ImageSet:
    """Images (M, ...) of the model as a set, with the classes and the shape of ``like``."""
    return ImageSet(
        visible.detach().reshape(-1, *like.shape).cpu(), labels.cpu(), like.n_classes,
        like.class_names, f"{metadata['made_by']} images", metadata, facts,
    )  # fmt: skip

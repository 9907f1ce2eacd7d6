"""Rubbish images (section 3): where the objective of a class leads from noise."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from denseam.checks import seed_of, whole
from denseam.classifier import Classifier
from denseam.descent.common import (
    Progress,
    bounds_of,
    check_images,
    in_parts,
    loss_power_of,
    visible_length,
    watch,
)
from denseam.descent.goals import PaperObjective, log_objective
from denseam.descent.heads import head_of
from denseam.descent.loop import OnStep, descend
from denseam.descent.result import DescentResult, Stop, code
from denseam.errors import InputError

__all__ = ["rubbish"]

# C_alpha is the number of classes where every Y is 0; below this part of it something was learned.
BELOW_PLATEAU = 0.99


def rubbish(
    model: nn.Module,
    classes: Sequence[int] | None = None,
    *,
    per_class: int = 1,
    start: Tensor | None = None,
    shape: Sequence[int] | None = None,
    noise: float = 0.1,
    step: float = 0.1,
    max_steps: int = 5000,
    loss_power: float | None = None,
    clip: bool = True,
    seed: int = 0,
    chunk: int = 1000,
    on_step: OnStep | None = None,
    on_progress: Progress | None = None,
) -> DescentResult:
    """Descend C_alpha (Eqs. 3.1, 3.2) from noise, or from given images, for every class.

    An image has converged when 20 steps together move it by less than one. It succeeds when it
    then is labelled as its class, and C_alpha is lower than where every Y is 0: at large n noise
    can be stuck where no memory, or next to none, is active, and has some label even so.

    Args:
        model: whose objective to descend: any network of the package, or a module that returns
            logits (B, C), whose tanh is then taken for Y.
        classes: alpha, the targets; all by default.
        per_class: how many images for each of them.
        start: (per_class, N) visible, used for every class; normal noise around 0 by default.
        shape: of one image, where it is not (N,) of a network.
        noise: standard deviation of that noise.
        step: eps, the L2 length of a step, visible units.
        max_steps: most steps of an image.
        loss_power: m; by default the paper's, 4 below n = 10 and 30 from there on.
        clip: keep pixels in [-1, 1].
        seed: of the noise.
        chunk: images at once: the memory needed does not grow with their number.
        on_step: told of every step, with the images still on their way.
        on_progress: told of images done and images in all.

    Returns:
        Images class by class, (len(classes) * per_class, N); ``labels`` are the model's choices at
        the start.

    Raises:
        InputError: for classes that the model has not, or arguments out of range.
    """
    step, chunk = visible_length("step", step), whole("chunk", chunk)
    max_steps, per_class = whole("max_steps", max_steps), whole("per_class", per_class)
    m = loss_power_of(model, loss_power)
    if start is None:
        start = _noise(model, shape, per_class, noise, seed)
    check_images(model, start)
    shape, flat = start.shape[1:], start.flatten(1)
    head = head_of(model, shape, log_energy=False)
    n_classes = head(flat[:1]).values.shape[1]
    if classes is not None:
        classes = [whole("classes", c, 0, n_classes - 1) for c in classes]
        if not classes:
            raise InputError(f"classes = {classes}: wanted some of 0 .. {n_classes - 1}")
    aims = torch.arange(n_classes) if classes is None else torch.tensor(classes)
    images = flat.repeat(len(aims), 1)
    targets = aims.to(flat.device).repeat_interleave(len(flat))

    def run(part: slice) -> DescentResult:
        begin, goal = images[part], PaperObjective(targets[part], m)
        first = head(begin).values.argmax(dim=1)
        end = descend(
            head, begin, goal, step=step, max_steps=max_steps, bounds=bounds_of(clip=clip),
            on_step=watch(part, len(images), on_step, on_progress),
        )  # fmt: skip
        scores = head(end.images).values
        low = log_objective(scores, targets[part], m) < math.log(BELOW_PLATEAU * n_classes)
        right = scores.argmax(dim=1) == targets[part]
        success = (end.codes == code(Stop.CONVERGED)) & right & low
        return DescentResult.of(
            begin, end, first, targets[part], success, shape=shape, clipped=clip
        )

    return in_parts(run, len(images), chunk, on_progress)


def _noise(
    model: nn.Module, shape: Sequence[int] | None, count: int, deviation: float, seed: int
) -> Tensor:
    """Normal noise around 0 (count, *shape), clipped to [-1, 1]."""
    deviation = visible_length("noise", deviation)
    if shape is None:
        if not isinstance(model, Classifier):
            raise InputError("noise for a module of another kind: wanted the shape of one image")
        shape = (model.n_visible,)
    generator = torch.Generator().manual_seed(seed_of(seed))
    noise = (deviation * torch.randn(count, *shape, generator=generator)).clamp_(-1, 1)
    own = next(model.parameters(), None)
    return noise if own is None else noise.to(own)

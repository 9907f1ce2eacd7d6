"""Rubbish images (section 3): where the objective of a class leads from noise."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from denseam.descent.common import (
    bounds_of,
    check_images,
    check_numbers,
    default_loss_power,
    in_parts,
)
from denseam.descent.goals import PaperObjective
from denseam.descent.heads import energy_gap_head
from denseam.descent.loop import descend
from denseam.descent.result import DescentResult, Stop, code
from denseam.errors import InputError
from denseam.model import DenseAM

__all__ = ["rubbish"]


def rubbish(
    model: DenseAM,
    classes: Sequence[int] | None = None,
    *,
    per_class: int = 1,
    start: Tensor | None = None,
    noise: float = 0.1,
    step: float = 0.1,
    max_steps: int = 2000,
    loss_power: float | None = None,
    clip: bool = True,
    seed: int = 0,
    chunk: int = 1000,
    on_progress: Callable[[int, int], None] | None = None,
) -> DescentResult:
    """Descend C_alpha (Eqs. 3.1, 3.2) from noise, or from given images, for every class.

    An image has converged when 20 steps together move it by less than one. It succeeds when it
    then is labelled as its class; on the plateau where no memory is active none does.

    Args:
        model: whose objective to descend.
        classes: alpha, the targets; all by default.
        per_class: how many images for each of them.
        start: (per_class, N) visible, used for every class; normal noise around 0 by default.
        noise: standard deviation of that noise.
        step: eps, the L2 length of a step, visible units.
        max_steps: most steps of an image.
        loss_power: m; by default the paper's, 4 below n = 10 and 30 from there on.
        clip: keep pixels in [-1, 1].
        seed: of the noise.
        chunk: images at once: the memory needed does not grow with their number.
        on_progress: told of images done and images in all.

    Returns:
        Images class by class, (len(classes) * per_class, N); ``labels`` are the model's choices at
        the start.

    Raises:
        InputError: for classes that the model has not, or arguments out of range.
    """
    check_numbers(step=step, max_steps=max_steps, chunk=chunk)
    wanted = list(range(model.n_classes)) if classes is None else list(classes)
    if not wanted or not all(0 <= c < model.n_classes for c in wanted):
        raise InputError(f"classes = {classes}: wanted some of 0 .. {model.n_classes - 1}")
    if start is None:
        if per_class < 1 or noise <= 0:
            raise InputError(f"per_class = {per_class}, noise = {noise}: wanted both > 0")
        generator = torch.Generator().manual_seed(seed)
        start = noise * torch.randn(per_class, model.n_visible, generator=generator)
        start = start.clamp(-1, 1).to(model.memories)
    check_images(model, start)
    images = start.repeat(len(wanted), 1)
    targets = torch.tensor(wanted, device=start.device).repeat_interleave(len(start))
    m = default_loss_power(model) if loss_power is None else loss_power
    head = energy_gap_head(model)

    def run(part: slice) -> DescentResult:
        first = head(images[part]).values.argmax(dim=1)
        goal = PaperObjective(targets[part], m)
        end = descend(
            head, images[part], goal, step=step, max_steps=max_steps, bounds=bounds_of(clip=clip)
        )
        success = (end.codes == code(Stop.CONVERGED)) & (
            head(end.images).values.argmax(dim=1) == targets[part]
        )
        return DescentResult.of(images[part], end, first, targets[part], success, clipped=clip)

    return in_parts(run, len(images), chunk, on_progress)

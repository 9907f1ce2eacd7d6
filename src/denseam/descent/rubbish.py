"""Rubbish images (section 3): where the objective of a class leads from noise."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from denseam.checks import number, seed_of, whole
from denseam.classifier import Classifier
from denseam.descent.batch import Batch, Progress
from denseam.descent.goals import PaperObjective, log_objective, loss_power_of
from denseam.descent.loop import OnStep, Pace, descend
from denseam.descent.result import DescentResult, Stop, code
from denseam.errors import InputError

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

    An image has converged when 20 steps together move it by less than one step. It succeeds when
    it has converged, is labelled as its class, and C_alpha is lower than where every Y is 0: at
    large n noise can be stuck where hardly a memory is active, and has some label even so.

    Args:
        model: any network of the package, or a module that returns logits (B, C), whose tanh is
            taken for Y.
        classes: alpha, the classes to descend to; all by default.
        per_class: images of each class.
        start: (per_class, N) visible, used for every class; normal noise around 0 by default.
        shape: of one image, where it is not the (N,) of a network.
        noise: standard deviation of the noise at the start.
        step: eps, the L2 length of a step, visible units.
        max_steps: most steps of an image.
        loss_power: m of the objective; by default 4 below n = 10 and 30 from there on.
        clip: keep pixels in [-1, 1].
        seed: of the noise.
        chunk: images at once: the memory needed does not grow with their number.
        on_step: called before every step with the images that have not stopped.
        on_progress: called with the number of images done and of all.

    Returns:
        Images class by class, (len(classes) * per_class, N); ``labels`` are the model's choices at
        the start.

    Raises:
        InputError: for classes that the model does not have, or arguments out of range.

    >>> import denseam
    >>> made = denseam.rubbish(denseam.load_pretrained("mnist-n30"), [3, 8], max_steps=20)
    >>> made.images.shape, made.targets.tolist()
    (torch.Size([2, 784]), [3, 8])
    """
    pace, m = Pace(step, max_steps, clip=clip), loss_power_of(model, loss_power)
    per_class = whole("per_class", per_class)
    if start is None:
        start = _noise(model, shape, per_class, noise, seed)
    batch = Batch(model, start, log_energy=False, clip=clip, chunk=chunk, on_progress=on_progress)
    targets = torch.tensor(check_classes(classes, batch.n_classes), device=start.device)
    batch.flat, targets = batch.flat.repeat(len(targets), 1), targets.repeat_interleave(len(start))
    plateau = math.log(BELOW_PLATEAU * batch.n_classes)

    def run(rows: slice) -> DescentResult:
        begin, alpha = batch.flat[rows], targets[rows]
        top = batch.head(begin).values.argmax(dim=1)
        watch = batch.watched(rows, on_step)
        end = descend(batch.head, begin, PaperObjective(alpha, m), pace, on_step=watch)
        scores = batch.head(end.images).values
        success = (end.codes == code(Stop.CONVERGED)) & (scores.argmax(dim=1) == alpha)
        success &= log_objective(scores, alpha, m) < plateau
        return batch.result(begin, end, top, alpha, success)

    return batch.in_chunks(run)


def check_classes(classes: Sequence[int] | None, n_classes: int) -> list[int]:
    """Return the classes asked for, all by default.

    Raises:
        InputError: for none, or classes that the model does not have.
    """
    chosen = range(n_classes) if classes is None else classes
    if not len(chosen):
        raise InputError("classes = []: wanted one class or more")
    return [whole("classes", c, 0, n_classes - 1) for c in chosen]


def _noise(
    model: nn.Module, shape: Sequence[int] | None, count: int, deviation: float, seed: int
) -> Tensor:
    """Return normal noise around 0 (count, *shape), clipped to [-1, 1]."""
    deviation = number("noise", deviation, above=0, unit="visible units")
    if shape is None:
        if not isinstance(model, Classifier):
            raise InputError("noise for a module of another kind: wanted the shape of one image")
        shape = (model.n_inputs,)
    generator = torch.Generator().manual_seed(seed_of(seed))
    noise = (deviation * torch.randn(count, *shape, generator=generator)).clamp_(-1, 1)
    weight = next(model.parameters(), None)
    return noise if weight is None else noise.to(weight)

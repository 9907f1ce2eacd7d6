"""The sign-of-gradient family (section 6): FGSM, the basic iterative method, least likely class.

Goodfellow et al. 2014; Kurakin et al. 2016. Sizes are Linf, in visible units, where black and white
are 2 apart: half as large in [0, 1] units. Directions are exact: where float32 would compute a
gradient of zero from a saturated tanh, its sign is still known here.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from denseam.checks import choice, is_number, number, numbers, whole
from denseam.descent.batch import Batch, Progress
from denseam.descent.goals import CrossEntropy, Goal, Margin, PaperObjective, loss_power_of
from denseam.descent.heads import Scores
from denseam.descent.loop import reasons
from denseam.descent.result import RUNNING, Descended, DescentResult, Stop, code
from denseam.heads import unit

Loss = Literal["objective", "cross_entropy", "margin"]

Results = Any  # a DescentResult for one eps, a list of them for several


def sign_gradient(
    model: nn.Module,
    visible: Tensor,
    labels: Tensor,
    eps: float | Sequence[float],
    *,
    loss: Loss = "objective",
    loss_power: float | None = None,
    clip: bool = True,
    chunk: int = 1000,
    on_progress: Progress | None = None,
) -> Results:
    """Take one step of length ``eps`` along the sign of the loss gradient (FGSM).

        v' = clip(v + eps sign grad_v C, -1, 1)

    C is the loss at the image's class (Goodfellow et al. 2014). An image succeeds when it is no
    longer labelled as that class.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        visible: (B, N) in [-1, 1]; other modules may take another shape (B, ...).
        labels: (B,) right classes.
        eps: Linf size in visible units, or several, which share one gradient.
        loss: C at a class a: "objective", sum_c (Y_c - t_c)^(2m) with t_c = +1 at c = a and -1
            elsewhere; "cross_entropy", -log softmax(L)_a; "margin", max_(c != a) L_c - L_a. L is
            the log-energy; of other modules, logits are L and their tanh is Y.
        loss_power: m of the objective; by default 4 below n = 10 and 30 from there on.
        clip: keep pixels in [-1, 1].
        chunk: images at once: the memory needed does not grow with their number.
        on_progress: called with the number of images done and of all.

    Returns:
        A ``DescentResult``, or a list of one for each of several ``eps``.

    Raises:
        InputError: for eps <= 0, images outside [-1, 1], labels that do not fit, or options out of
            range.

    >>> import denseam
    >>> model, test = denseam.load_pretrained("mnist-n2"), denseam.data.load("mnist").test
    >>> visible, labels = test.visible()[:10], test.labels[:10]
    >>> moved = denseam.sign_gradient(model, visible, labels, eps=0.5)
    >>> int(moved.success.sum()), round(float(moved.distances.linf.max()), 3)
    (10, 0.5)
    """
    return _follow_signs(
        model, visible, labels, eps, loss, loss_power, clip, chunk, on_progress,
    )  # fmt: skip


def basic_iterative(
    model: nn.Module,
    visible: Tensor,
    labels: Tensor,
    eps: float | Sequence[float],
    *,
    steps: int = 10,
    step: float | None = None,
    loss: Loss = "objective",
    loss_power: float | None = None,
    clip: bool = True,
    chunk: int = 1000,
    on_progress: Progress | None = None,
) -> Results:
    """Take small steps of FGSM, never farther than ``eps`` from the start (BIM).

        v_0 = v,   v_(k+1) = clip(v_k + step sign grad_v C(v_k))

    C is the loss at the image's class; clip keeps pixels within ``eps`` of v, then in [-1, 1]
    (Kurakin et al. 2016). An image succeeds when it is no longer labelled as that class.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        visible: (B, N) in [-1, 1]; other modules may take another shape (B, ...).
        labels: (B,) right classes.
        eps: Linf size in visible units, or several, each with steps of its own.
        steps: number of steps.
        step: Linf length of a step, visible units; eps / steps by default.
        loss: as for ``sign_gradient``.
        loss_power: as for ``sign_gradient``.
        clip: as for ``sign_gradient``.
        chunk: as for ``sign_gradient``.
        on_progress: as for ``sign_gradient``.

    Returns:
        A ``DescentResult``, or a list of one for each of several ``eps``.

    Raises:
        InputError: as ``sign_gradient``, and for steps < 1 or step <= 0.

    >>> import denseam
    >>> model, test = denseam.load_pretrained("mnist-n2"), denseam.data.load("mnist").test
    >>> visible, labels = test.visible()[:10], test.labels[:10]
    >>> small, large = denseam.basic_iterative(model, visible, labels, eps=[0.01, 0.3], steps=5)
    >>> int(small.success.sum()), int(large.success.sum())
    (0, 10)
    """
    return _follow_signs(
        model, visible, labels, eps, loss, loss_power, clip, chunk, on_progress, steps, step,
    )  # fmt: skip


def least_likely(
    model: nn.Module,
    visible: Tensor,
    labels: Tensor,
    eps: float | Sequence[float],
    *,
    steps: int = 10,
    step: float | None = None,
    loss: Loss = "objective",
    loss_power: float | None = None,
    clip: bool = True,
    chunk: int = 1000,
    on_progress: Progress | None = None,
) -> Results:
    """Take small steps towards the class that the model finds least likely at the start (LLC).

        v_0 = v,   v_(k+1) = clip(v_k - step sign grad_v C(v_k))

    C is the loss at that class; clip keeps pixels within ``eps`` of v, then in [-1, 1] (Kurakin et
    al. 2016). An image succeeds when it is no longer labelled as its own class. Arguments, results
    and errors are those of ``basic_iterative``; ``targets`` are the least likely classes.

    >>> import denseam
    >>> model, test = denseam.load_pretrained("mnist-n2"), denseam.data.load("mnist").test
    >>> visible, labels = test.visible()[:10], test.labels[:10]
    >>> led = denseam.least_likely(model, visible, labels, eps=1.0)
    >>> bool((led.targets != labels).all())
    True
    """
    return _follow_signs(
        model, visible, labels, eps, loss, loss_power, clip, chunk, on_progress, steps, step,
        least_likely=True,
    )  # fmt: skip


def _follow_signs(
    model: nn.Module,
    visible: Tensor,
    labels: Tensor,
    eps: float | Sequence[float],
    loss: Loss,
    loss_power: float | None,
    clip: bool,
    chunk: int,
    on_progress: Progress | None,
    steps: int = 1,
    step: float | None = None,
    *,
    least_likely: bool = False,
) -> Results:
    """Take steps along signs: away from the labels (B,), or towards the least likely classes."""
    on_logits = choice("loss", loss, get_args(Loss)) != "objective"
    m, steps = loss_power_of(model, loss_power), whole("steps", steps)
    sizes = numbers("eps", eps, above=0, unit="visible units")
    fixed = None if step is None else number("step", step, above=0, unit="visible units")
    batch = Batch(
        model, visible, log_energy=on_logits, clip=clip, chunk=chunk, on_progress=on_progress
    )
    batch.check_labels(labels)

    def direction(scores: Scores, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Return signs (A, N) to step along, and why an image has none (A,) int8."""
        weights = _goal(loss, scores.values, classes, m).weights(scores.values)
        signs, size = unit(scores.pull(weights if least_likely else -weights), "linf")
        codes = reasons(scores, size)
        codes[codes == RUNNING] = code(Stop.MAX_STEPS)
        return -signs, codes

    def run(rows: slice) -> list[DescentResult]:
        start, right = batch.flat[rows], labels[rows]
        scores = batch.head(start)
        classes = scores.values.argmin(dim=1) if least_likely else right
        first = direction(scores, classes)

        def within(size: float) -> DescentResult:
            length = size / steps if fixed is None else fixed
            here = before = start
            signs, codes = first
            for k in range(steps):
                if k:
                    signs, codes = direction(batch.head(here), classes)
                before = here
                here = (here + length * signs).clamp(start - size, start + size)
                here = here.clamp(-1, 1) if batch.clip else here
            taken = torch.full((len(start),), steps, dtype=torch.int64, device=start.device)
            success = batch.head(here).values.argmax(dim=1) != right
            end = Descended(here, before, taken, codes)
            return batch.result(start, end, right, classes, success)

        return [within(size) for size in sizes]

    results = batch.in_chunks(run)
    return results[0] if is_number(eps) else results


def _goal(loss: Loss, scores: Tensor, classes: Tensor, loss_power: float) -> Goal:
    """Return what falls when images come to their classes (A,)."""
    if loss == "cross_entropy":
        return CrossEntropy(classes)
    if loss == "margin":
        best_other = scores.scatter(1, classes[:, None], -torch.inf).argmax(dim=1)
        return Margin(best_other, classes)
    return PaperObjective(classes, loss_power)

"""The sign-of-gradient family (section 6): FGSM, the basic iterative method, least likely class.

Goodfellow et al. 2014; Kurakin et al. 2016. Sizes are Linf, in visible units, where black and white
are 2 apart: half as large in [0, 1] units.
"""

from collections.abc import Sequence
from typing import Literal, overload

import torch
from torch import Tensor, nn

from denseam.data.validate import check_labels
from denseam.descent.common import (
    bounds_of,
    check_images,
    check_numbers,
    default_loss_power,
    in_parts,
)
from denseam.descent.goals import CrossEntropy, Goal, Margin, PaperObjective
from denseam.descent.heads import Head, head_of
from denseam.descent.loop import reasons, unit
from denseam.descent.result import RUNNING, Descended, DescentResult, Stop, code
from denseam.errors import InputError

__all__ = ["basic_iterative", "least_likely", "sign_gradient"]

Loss = Literal["objective", "cross_entropy", "margin"]


@overload
def sign_gradient(
    model: nn.Module, visible: Tensor, labels: Tensor, eps: float, *, loss: Loss = ...,
    loss_power: float | None = ..., clip: bool = ..., chunk: int = ...,
) -> DescentResult: ...  # fmt: skip
@overload
def sign_gradient(
    model: nn.Module, visible: Tensor, labels: Tensor, eps: Sequence[float], *, loss: Loss = ...,
    loss_power: float | None = ..., clip: bool = ..., chunk: int = ...,
) -> list[DescentResult]: ...  # fmt: skip
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
) -> DescentResult | list[DescentResult]:
    """One step of length ``eps`` along the sign of the loss gradient (FGSM).

    The direction is exact: where float32 would compute a gradient of zero from a saturated tanh,
    its sign is still known here. An image succeeds when it is no longer labelled as its class.

    Args:
        model: a DenseAM, or any module that returns logits (B, C).
        visible: (B, N) in [-1, 1].
        labels: (B,) right classes.
        eps: Linf size in visible units, or several, which share one gradient.
        loss: "objective", the paper's C on Y; "cross_entropy" or "margin" on the log-energy.
        loss_power: m of the objective; by default 4 below n = 10 and 30 from there on.
        clip: keep pixels in [-1, 1].
        chunk: images at once.

    Returns:
        A result, or a list of one for each of several ``eps``.

    Raises:
        InputError: for eps <= 0, images outside [-1, 1], labels that do not fit.
    """
    sizes = [eps] if isinstance(eps, int | float) else list(eps)
    attack = _Attack(model, loss, loss_power, clip=clip)
    attack.check(visible, labels, sizes, chunk)

    def run(part: slice) -> list[DescentResult]:
        start = visible[part]
        direction, codes = attack.direction(start, attack.goal(start, labels[part]))
        ends = [attack.clipped(start + size * direction) for size in sizes]
        steps = torch.ones(len(start), dtype=torch.int64, device=start.device)
        return [
            attack.result(start, Descended(end, start, steps, codes), labels[part]) for end in ends
        ]

    found = in_parts(run, len(visible), chunk, None)
    return found[0] if isinstance(eps, int | float) else found


def basic_iterative(
    model: nn.Module,
    visible: Tensor,
    labels: Tensor,
    eps: float,
    *,
    step: float | None = None,
    steps: int = 10,
    loss: Loss = "objective",
    loss_power: float | None = None,
    clip: bool = True,
    chunk: int = 1000,
) -> DescentResult:
    """FGSM in small steps, never farther than ``eps`` from the start (Linf).

    ``step`` is ``eps / steps`` by default; the rest as in ``sign_gradient``.
    """
    attack = _Attack(model, loss, loss_power, clip=clip)
    attack.check(visible, labels, [eps], chunk)
    return attack.iterate(visible, labels, None, eps, step, steps, chunk)


def least_likely(
    model: nn.Module,
    visible: Tensor,
    labels: Tensor,
    eps: float,
    *,
    step: float | None = None,
    steps: int = 10,
    loss: Loss = "objective",
    loss_power: float | None = None,
    clip: bool = True,
    chunk: int = 1000,
) -> DescentResult:
    """Iterative steps towards the class that the model found least likely at the start.

    ``targets`` of the result are those classes; success is any label but the right one.
    """
    attack = _Attack(model, loss, loss_power, clip=clip)
    attack.check(visible, labels, [eps], chunk)
    least = in_parts(
        lambda part: attack.head(visible[part]).values.argmin(dim=1), len(visible), chunk, None
    )
    return attack.iterate(visible, labels, least, eps, step, steps, chunk)


class _Attack:
    """A model, a loss on one of its heads, and what the methods do with them."""

    def __init__(
        self, model: nn.Module, loss: Loss, loss_power: float | None, *, clip: bool
    ) -> None:
        if loss not in ("objective", "cross_entropy", "margin"):
            raise InputError(f"loss = {loss!r}: wanted 'objective', 'cross_entropy' or 'margin'")
        self.model, self.loss, self.clip = model, loss, clip
        self.loss_power = default_loss_power(model) if loss_power is None else loss_power
        self.head: Head = head_of(model, log_energy=loss != "objective")

    def check(self, visible: Tensor, labels: Tensor, sizes: Sequence[float], chunk: int) -> None:
        check_images(self.model, visible)
        n_classes = self.head(visible[:1]).values.shape[1]
        check_labels(labels, n_classes, len(visible))
        for eps in sizes:
            if not eps > 0:
                raise InputError(f"eps = {eps!r}: wanted an Linf size > 0, in visible units")
        check_numbers(step=1.0, max_steps=1, chunk=chunk)

    def goal(self, start: Tensor, labels: Tensor, *, away: bool = True) -> Goal:
        """What falls when an image leaves ``labels``, or with ``away=False`` comes to them."""
        if self.loss == "cross_entropy":
            return CrossEntropy(labels, away)
        if self.loss == "margin":
            scores = self.head(start).values
            best = scores.scatter(1, labels[:, None], -torch.inf).argmax(dim=1)
            return Margin(labels, best) if away else Margin(best, labels)
        goal = PaperObjective(labels, self.loss_power)
        return _Away(goal) if away else goal

    def direction(self, here: Tensor, goal: Goal) -> tuple[Tensor, Tensor]:
        """Signs (B, N) to step along, and why an image has none (B,) int8."""
        scores = self.head(here)
        signs, size = unit(scores.pull(goal.weights(scores.values)), "linf")
        codes = reasons(scores, size)
        codes[codes == RUNNING] = code(Stop.MAX_STEPS)
        return -signs, codes

    def clipped(self, images: Tensor) -> Tensor:
        bounds = bounds_of(clip=self.clip)
        return images if bounds is None else images.clamp(*bounds)

    def iterate(
        self,
        visible: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        eps: float,
        step: float | None,
        steps: int,
        chunk: int,
    ) -> DescentResult:
        """Steps along signs within Linf ``eps``: away from the labels, or towards targets."""
        check_numbers(step=1.0, max_steps=steps, chunk=chunk)
        length = eps / steps if step is None else step
        if not length > 0:
            raise InputError(f"step = {step!r}: wanted an Linf size > 0, in visible units")

        def run(part: slice) -> DescentResult:
            start = here = before = visible[part]
            aim = labels[part] if targets is None else targets[part]
            for _ in range(steps):
                goal = self.goal(here, aim, away=targets is None)
                direction, codes = self.direction(here, goal)
                before = here
                moved = (here + length * direction).clamp(start - eps, start + eps)
                here = self.clipped(moved)
            taken = torch.full((len(start),), steps, dtype=torch.int64, device=start.device)
            return self.result(start, Descended(here, before, taken, codes), labels[part], aim)

        return in_parts(run, len(visible), chunk, None)

    def result(
        self, start: Tensor, end: Descended, labels: Tensor, targets: Tensor | None = None
    ) -> DescentResult:
        success = self.head(end.images).values.argmax(dim=1) != labels
        aim = labels if targets is None else targets
        return DescentResult.of(start, end, labels, aim, success, clipped=self.clip)


class _Away:
    """The negative of a goal: its ascent."""

    def __init__(self, goal: Goal) -> None:
        self._goal = goal

    def weights(self, scores: Tensor) -> Tensor:
        return -self._goal.weights(scores)

    def at(self, rows: Tensor) -> "_Away":
        return _Away(self._goal.at(rows))

"""The sign-of-gradient family (section 6): FGSM, the basic iterative method, least likely class.

Goodfellow et al. 2014; Kurakin et al. 2016. Sizes are Linf, in visible units, where black and white
are 2 apart: half as large in [0, 1] units. Directions are exact: where float32 would compute a
gradient of zero from a saturated tanh, its sign is still known here.
"""

from collections.abc import Callable, Sequence
from typing import Literal, TypedDict, Unpack, get_args, overload

import torch
from torch import Tensor, nn

from denseam.checks import choice, is_number, numbers, whole
from denseam.data.validate import check_labels
from denseam.descent.common import (
    Progress,
    bounds_of,
    check_images,
    in_parts,
    loss_power_of,
    visible_length,
)
from denseam.descent.goals import CrossEntropy, Goal, Margin, PaperObjective
from denseam.descent.heads import Head, head_of
from denseam.descent.loop import reasons, unit
from denseam.descent.result import RUNNING, Descended, DescentResult, Stop, code

__all__ = ["Loss", "basic_iterative", "least_likely", "sign_gradient"]

Loss = Literal["objective", "cross_entropy", "margin"]


class Options(TypedDict, total=False):
    """What all three take besides model, images, labels and ``eps``; they say what each is."""

    loss: Loss
    loss_power: float | None
    clip: bool
    chunk: int
    on_progress: Progress | None


class IterativeOptions(Options, total=False):
    """And what the iterative ones take."""

    steps: int
    step: float | None


@overload
def sign_gradient(
    model: nn.Module, visible: Tensor, labels: Tensor, eps: float, **options: Unpack[Options]
) -> DescentResult: ...
@overload
def sign_gradient(
    model: nn.Module, visible: Tensor, labels: Tensor, eps: Sequence[float],
    **options: Unpack[Options],
) -> list[DescentResult]: ...  # fmt: skip
def sign_gradient(
    model: nn.Module,
    visible: Tensor,
    labels: Tensor,
    eps: float | Sequence[float],
    **options: Unpack[Options],
) -> DescentResult | list[DescentResult]:
    """One step of length ``eps`` along the sign of the loss gradient (FGSM).

        v' = clip(v + eps sign grad_v C, -1, 1)

    C is the loss at the image's class (Goodfellow et al. 2014). An image succeeds when it is no
    longer labelled as that class.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        visible: (B, N) in [-1, 1]; for other modules what they take, in [-1, 1].
        labels: (B,) right classes.
        eps: Linf size in visible units, or several, which share one gradient.
        **options: by name:
            loss: C of an image and a class a: "objective" (default), sum_c (Y_c - t_c)^(2m) with
                t_c = +1 at c = a, -1 elsewhere; "cross_entropy", -log softmax(L)_a; or "margin",
                max_(c != a) L_c - L_a. L is the log-energy. Other modules' logits are L, and their
                tanh is Y.
            loss_power: m of the objective; by default 4 below n = 10 and 30 from there on.
            clip: keep pixels in [-1, 1]; True by default.
            chunk: images at once, 1000 by default: the memory needed does not grow with their
                number.
            on_progress: told of images done and images in all.

    Returns:
        A ``DescentResult``, or a list of one for each of several ``eps``.

    Raises:
        InputError: for eps <= 0, images outside [-1, 1], labels that do not fit, or options out of
            range.
    """
    attack = _Attack(model, visible, labels, eps, **options)

    def run(part: slice) -> list[DescentResult]:
        start = attack.images[part]
        direction, codes = attack.direction(start, attack.goal(start, labels[part], away=True))
        steps = torch.ones(len(start), dtype=torch.int64, device=start.device)
        ends = [attack.clipped(start + size * direction) for size in attack.sizes]
        return [
            attack.result(start, Descended(end, start, steps, codes), labels[part], labels[part])
            for end in ends
        ]

    return attack.over(run)


@overload
def basic_iterative(
    model: nn.Module, visible: Tensor, labels: Tensor, eps: float,
    **options: Unpack[IterativeOptions],
) -> DescentResult: ...  # fmt: skip
@overload
def basic_iterative(
    model: nn.Module, visible: Tensor, labels: Tensor, eps: Sequence[float],
    **options: Unpack[IterativeOptions],
) -> list[DescentResult]: ...  # fmt: skip
def basic_iterative(
    model: nn.Module,
    visible: Tensor,
    labels: Tensor,
    eps: float | Sequence[float],
    *,
    steps: int = 10,
    step: float | None = None,
    **options: Unpack[Options],
) -> DescentResult | list[DescentResult]:
    """FGSM in small steps, never farther than ``eps`` from the start (BIM).

        v_0 = v,   v_(k+1) = clip(v_k + step sign grad_v C(v_k))

    C is the loss at the image's class; clip keeps pixels within ``eps`` of v, then in [-1, 1]
    (Kurakin et al. 2016). An image succeeds when it is no longer labelled as that class.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        visible: (B, N) in [-1, 1]; for other modules what they take, in [-1, 1].
        labels: (B,) right classes.
        eps: Linf size in visible units, or several, each with steps of its own.
        steps: how many.
        step: Linf length of one, visible units; ``eps / steps`` by default.
        **options: by name:
            loss: C of an image and a class a: "objective" (default), sum_c (Y_c - t_c)^(2m) with
                t_c = +1 at c = a, -1 elsewhere; "cross_entropy", -log softmax(L)_a; or "margin",
                max_(c != a) L_c - L_a. L is the log-energy. Other modules' logits are L, and their
                tanh is Y.
            loss_power: m of the objective; by default 4 below n = 10 and 30 from there on.
            clip: keep pixels in [-1, 1]; True by default.
            chunk: images at once, 1000 by default: the memory needed does not grow with their
                number.
            on_progress: told of images done and images in all.

    Returns:
        A ``DescentResult``, or a list of one for each of several ``eps``.

    Raises:
        InputError: as ``sign_gradient``, and for steps < 1 or step <= 0.
    """
    attack = _Attack(model, visible, labels, eps, **options)
    return attack.iterate(labels, None, steps, step)


@overload
def least_likely(
    model: nn.Module, visible: Tensor, labels: Tensor, eps: float,
    **options: Unpack[IterativeOptions],
) -> DescentResult: ...  # fmt: skip
@overload
def least_likely(
    model: nn.Module, visible: Tensor, labels: Tensor, eps: Sequence[float],
    **options: Unpack[IterativeOptions],
) -> list[DescentResult]: ...  # fmt: skip
def least_likely(
    model: nn.Module,
    visible: Tensor,
    labels: Tensor,
    eps: float | Sequence[float],
    *,
    steps: int = 10,
    step: float | None = None,
    **options: Unpack[Options],
) -> DescentResult | list[DescentResult]:
    """Small steps towards the class that the model finds least likely at the start (LLC).

        v_0 = v,   v_(k+1) = clip(v_k - step sign grad_v C(v_k))

    C is the loss at that class; clip keeps pixels within ``eps`` of v, then in [-1, 1] (Kurakin et
    al. 2016). An image succeeds when it is no longer labelled as its own class.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        visible: (B, N) in [-1, 1]; for other modules what they take, in [-1, 1].
        labels: (B,) right classes.
        eps: Linf size in visible units, or several, each with steps of its own.
        steps: how many.
        step: Linf length of one, visible units; ``eps / steps`` by default.
        **options: by name:
            loss: C of an image and a class a: "objective" (default), sum_c (Y_c - t_c)^(2m) with
                t_c = +1 at c = a, -1 elsewhere; "cross_entropy", -log softmax(L)_a; or "margin",
                max_(c != a) L_c - L_a. L is the log-energy. Other modules' logits are L, and their
                tanh is Y.
            loss_power: m of the objective; by default 4 below n = 10 and 30 from there on.
            clip: keep pixels in [-1, 1]; True by default.
            chunk: images at once, 1000 by default: the memory needed does not grow with their
                number.
            on_progress: told of images done and images in all.

    Returns:
        A ``DescentResult`` whose ``targets`` are the least likely classes, or a list of one for
        each of several ``eps``.

    Raises:
        InputError: as ``sign_gradient``, and for steps < 1 or step <= 0.
    """
    attack = _Attack(model, visible, labels, eps, **options)
    least = in_parts(
        lambda part: attack.head(attack.images[part]).values.argmin(dim=1),
        len(visible), attack.chunk,
    )  # fmt: skip
    return attack.iterate(labels, least, steps, step)


class _Attack:
    """Checked arguments, a loss on a head of the model, and what the methods do with them."""

    def __init__(
        self,
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
    ) -> None:
        check_images(model, visible)
        self.one = is_number(eps)
        self.sizes = numbers("eps", eps, above=0, unit="visible units")
        self.loss, self.bounds = choice("loss", loss, get_args(Loss)), bounds_of(clip=clip)
        self.chunk, self.on_progress = whole("chunk", chunk), on_progress
        self.loss_power = loss_power_of(model, loss_power)
        self.shape, self.images = visible.shape[1:], visible.flatten(1)
        self.head: Head = head_of(model, self.shape, log_energy=loss != "objective")
        check_labels(labels, self.head(self.images[:1]).values.shape[1], len(visible))

    def goal(self, here: Tensor, labels: Tensor, *, away: bool) -> Goal:
        """What falls when an image leaves ``labels``, or comes to them."""
        if self.loss == "cross_entropy":
            return CrossEntropy(labels, away)
        if self.loss == "margin":
            scores = self.head(here).values
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
        return images if self.bounds is None else images.clamp(*self.bounds)

    def iterate(
        self, labels: Tensor, targets: Tensor | None, steps: int, step: float | None
    ) -> DescentResult | list[DescentResult]:
        """Steps along signs within each size: away from the labels, or towards ``targets``."""
        steps = whole("steps", steps)
        step = None if step is None else visible_length("step", step)
        aims = labels if targets is None else targets

        def to(size: float, part: slice) -> DescentResult:
            start = here = before = self.images[part]
            for _ in range(steps):
                goal = self.goal(here, aims[part], away=targets is None)
                direction, codes = self.direction(here, goal)
                length, before = size / steps if step is None else step, here
                moved = (here + length * direction).clamp(start - size, start + size)
                here = self.clipped(moved)
            taken = torch.full((len(start),), steps, dtype=torch.int64, device=start.device)
            end = Descended(here, before, taken, codes)
            return self.result(start, end, labels[part], aims[part])

        return self.over(lambda part: [to(size, part) for size in self.sizes])

    def over(
        self, run: Callable[[slice], list[DescentResult]]
    ) -> DescentResult | list[DescentResult]:
        """All parts joined: one result for each size, or the only one."""
        found = in_parts(run, len(self.images), self.chunk, self.on_progress)
        return found[0] if self.one else found

    def result(
        self, start: Tensor, end: Descended, labels: Tensor, targets: Tensor
    ) -> DescentResult:
        success = self.head(end.images).values.argmax(dim=1) != labels
        return DescentResult.of(
            start, end, labels, targets, success,
            shape=self.shape, clipped=self.bounds is not None,
        )  # fmt: skip


class _Away:
    """The negative of a goal: its ascent."""

    def __init__(self, goal: Goal) -> None:
        self._goal = goal

    def weights(self, scores: Tensor) -> Tensor:
        return -self._goal.weights(scores)

    def at(self, rows: Tensor) -> "_Away":
        return _Away(self._goal.at(rows))

"""Adversarial training: batches with images that an attack has moved (section 7 of the paper).

The attack is projected gradient ascent on the margin of log-energies, L_c - L_y for the best other
class c (Madry et al. 2018, with the margin in the place of their cross-entropy). Log-energies never
saturate, so every image that sees a memory has a direction.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from denseam.checks import choice, number, whole
from denseam.classifier import Classifier
from denseam.errors import InputError
from denseam.heads import Norm, own_and_best_other, unit
from denseam.mesh import Axis

__all__ = ["UNIT", "Adversarial", "Threat", "check_radius", "check_threats", "threats"]

Perturbations = Literal["fresh", "free", "fast"]

UNIT = 2.0
"""Visible units in one [0, 1] unit."""

_CHECKED, _CHECK_STEPS = 100, 20  # images an epoch, and the steps of the attack that checks them
_FAST = 1.25  # sizes in a step: 10 / 8 of Wong et al. (2020)


@dataclass(frozen=True)
class Threat:
    """A set of changes to an image: all of at most some size in a norm.

    Args:
        norm: "l2" or "linf".
        eps: the size, in [0, 1] units.

    Raises:
        InputError: for another norm, and for a size that is not above 0.

    >>> Threat("linf", 0.3)
    Threat(norm='linf', eps=0.3)
    """

    norm: Norm
    eps: float

    def __post_init__(self) -> None:
        choice("norm", self.norm, get_args(Norm))
        object.__setattr__(self, "eps", number("eps", self.eps, above=0, unit="[0, 1] units"))

    def projected(self, change: Tensor, eps: float) -> Tensor:
        """Return changes (B, N) no larger than ``eps``, both in visible units."""
        if self.norm == "linf":
            return change.clamp(-eps, eps)
        size = change.norm(dim=1, keepdim=True)
        shrunk: Tensor = change * (eps / size.clamp(min=eps))
        return shrunk

    def drawn(self, like: Tensor, eps: float) -> Tensor:
        """Return random changes (B, N) of at most ``eps``, in visible units."""
        if self.norm == "linf":
            return torch.empty_like(like).uniform_(-eps, eps)
        change = torch.randn_like(like)
        reach = torch.rand(len(like), 1, dtype=like.dtype, device=like.device)
        drawn: Tensor = change * (eps * reach / change.norm(dim=1, keepdim=True).clamp(min=1e-12))
        return drawn


@dataclass(frozen=True)
class _Path:
    """Steps of an attack, and the length of one in sizes."""

    steps: int
    length: float


@dataclass
class _Counts:
    """Sums over the batches of an epoch."""

    images: int = 0
    clean: int = 0
    clean_wrong: int = 0
    attacked: int = 0
    attacked_wrong: int = 0
    still: int = 0  # images whose attack found no direction


@dataclass
class Adversarial:
    """A ``batch=`` callable of ``denseam.train``: clean images, and the same images attacked.

    Every epoch's record gets ``attack``: errors on clean and on attacked images, each before its
    update; the error of a subset under an attack of 20 steps, which shows when the attack of
    training has become too weak; the largest size; and the share of images without a direction.

    Args:
        norm: "l2" or "linf".
        eps: the size of the attack, in [0, 1] units.
        steps: of the attack; one step with a random start is the "fast" method (Wong et al. 2020).
        threats: several norms and sizes, in the place of one; each image meets one of them.
        mix: share of attacked images in what is learned: 0.5 for as many as clean ones, 1 for
            attacked ones only.
        ramp: epochs in which the size grows from 0 to ``eps``.
        step: length of a step, as a multiple of eps / steps.
        random_start: begin at a random change, not at the image.
        perturbations: "fresh" ones of ``steps`` for every batch; "fast", one step of 1.25 eps from
            a random start, whatever ``steps`` (Wong et al. 2020); or "free": every batch is shown
            ``steps`` times, and each time its changes go one step of eps further (Shafahi et al.
            2019). An epoch is then ``steps`` times as long.
        enough: lead of a wrong class, in log-energy, at which an image's attack ends; by default
            none does.

    Raises:
        InputError: for another norm, or a number out of range.

    >>> from denseam import Recipe, data, train
    >>> images = data.ImageSet(torch.eye(4).reshape(4, 2, 2).repeat(25, 1, 1),
    ...                        torch.arange(100) % 4, n_classes=4, name="dots")
    >>> recipe = Recipe.paper(3, epochs=3, n_memories=40, per_class=5).replace(temperature=10.0)
    >>> result = train(recipe, images, batch=Adversarial("l2", 0.1, steps=2))
    >>> sorted(result.records[-1].attack)
    ['attacked_error', 'checked_error', 'clean_error', 'eps', 'without_direction']
    """

    norm: Norm = "l2"
    eps: float = 1.5
    steps: int = 5
    threats: tuple[Threat, ...] = ()
    mix: float = 0.5
    ramp: int = 0
    step: float = 2.5
    random_start: bool = True
    perturbations: Perturbations = "fresh"
    enough: float | None = None
    _counts: _Counts = field(default_factory=_Counts, init=False, repr=False, compare=False)
    _changes: Tensor | None = field(default=None, init=False, repr=False, compare=False)
    _last: Any = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.threats = tuple(self.threats) or (Threat(self.norm, self.eps),)
        self.norm, self.eps = self.threats[0].norm, self.threats[0].eps
        self.steps = whole("steps", self.steps)
        self.mix = number("mix", self.mix, above=0, most=1)
        self.ramp = whole("ramp", self.ramp, 0)
        self.step = number("step", self.step, above=0)
        choice("perturbations", self.perturbations, get_args(Perturbations))
        if self.perturbations == "free" and self.mix < 0.5:
            raise InputError(
                f"mix = {self.mix:g}: free perturbations go on from one showing of a batch to the "
                "next, so wanted all images attacked, mix of at least 0.5"
            )
        if self.enough is not None:
            self.enough = number("enough", self.enough, least=0)

    @classmethod
    def parse(cls, text: str, **options: Any) -> "Adversarial":
        """Return the rule of a text such as ``l2:1.5`` or ``l2:2.0,linf:0.3``.

        >>> Adversarial.parse("l2:2.0,linf:0.3").threats
        (Threat(norm='l2', eps=2.0), Threat(norm='linf', eps=0.3))
        """
        return cls(threats=threats(text), **options)

    def __call__(
        self, model: Classifier, inputs: Tensor, labels: Tensor, epoch: int, batch: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Return what to learn from, (B', N) and (B',): clean images first, then attacked ones."""
        share = self._share(epoch)
        clean, attacked = self._divided(len(inputs), inputs.device)
        begun = self._changes if batch % self.repeats else None
        moved, moving = self._attacked(
            model, inputs[attacked], labels[attacked], share, self._path, begun
        )
        if self.repeats > 1:
            self._changes = moved - inputs[attacked]
        counts = self._counts
        counts.images, counts.still = (
            counts.images + len(moved),
            counts.still + int((~moving).sum()),
        )
        self._last = (model, inputs[:_CHECKED], labels[:_CHECKED], share, len(clean))
        return torch.cat([inputs[clean], moved]), torch.cat([labels[clean], labels[attacked]])

    def learned(self, predicted: Tensor, labels: Tensor) -> None:
        """Count the errors of a batch, from the labels (B',) predicted before its update."""
        wrong, first, counts = predicted != labels, self._last[-1], self._counts
        counts.clean += first
        counts.attacked += len(wrong) - first
        counts.clean_wrong += int(wrong[:first].sum())
        counts.attacked_wrong += int(wrong[first:].sum())

    def summary(self, axis: Axis) -> dict[str, float | None]:
        """Return the record of an epoch, over all processes of an axis, and begin another one."""
        model, inputs, labels, share, _ = self._last
        moved, _ = self._attacked(model, inputs, labels, share, self._check)
        scores = model.head(moved.shape[1:], "log_energy")(moved).values
        counts, self._counts = self._counts, _Counts()
        checked = [len(labels), int((scores.argmax(dim=1) != labels).sum())]
        sums = axis.add(torch.tensor([*vars(counts).values(), *checked], device=labels.device))
        images, clean, clean_wrong, attacked, attacked_wrong, still, n, wrong = sums.tolist()
        return {
            "eps": share * max(each.eps for each in self.threats),
            "clean_error": clean_wrong / clean if clean else None,
            "attacked_error": attacked_wrong / attacked,
            "checked_error": wrong / n,
            "without_direction": still / images,
        }

    def breaks(self, model: Classifier, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return True for images (B,) that are wrong, or that one of the threats makes wrong.

        Every image meets every threat, at full size, in 20 steps.
        """
        head = model.head(inputs.shape[1:], "log_energy")
        wrong = head(inputs).values.argmax(dim=1) != labels
        for threat in self.threats:
            moved, _ = self._ascended(model, inputs, labels, threat, 1.0, self._check)
            wrong |= head(moved).values.argmax(dim=1) != labels
        return wrong

    @property
    def repeats(self) -> int:
        """Number of times that every batch is shown, one after the other."""
        return self.steps if self.perturbations == "free" else 1

    @property
    def _path(self) -> _Path:
        if self.perturbations == "fresh":
            return _Path(self.steps, self.step / self.steps)
        return _Path(1, 1.0 if self.perturbations == "free" else _FAST)

    @property
    def _check(self) -> _Path:
        return _Path(_CHECK_STEPS, self.step / _CHECK_STEPS)

    def _share(self, epoch: int) -> float:
        """Return the part of their size that attacks have in an epoch."""
        return min(1.0, (epoch + 1) / (self.ramp + 1))

    def _divided(self, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return which of a batch are learned as they are, and which attacked."""
        everything = torch.arange(count, device=device)
        if self.mix == 0.5:
            return everything, everything
        few = round(count * min(self.mix, 1 - self.mix) / max(self.mix, 1 - self.mix))
        some = torch.randperm(count)[:few].to(device)
        return (some, everything) if self.mix > 0.5 else (everything, some)

    def _attacked(
        self,
        model: Classifier,
        inputs: Tensor,
        labels: Tensor,
        share: float,
        path: _Path,
        begun: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return attacked inputs (B, N), and True for those whose attack had a direction (B,)."""
        moved, moving = inputs.clone(), torch.zeros(len(inputs), dtype=torch.bool).to(labels.device)
        for first, threat in enumerate(self.threats):
            rows = slice(first, None, len(self.threats))
            moved[rows], moving[rows] = self._ascended(
                model, inputs[rows], labels[rows], threat, share, path,
                None if begun is None else begun[rows],
            )  # fmt: skip
        return moved, moving

    def _ascended(
        self,
        model: Classifier,
        inputs: Tensor,
        labels: Tensor,
        threat: Threat,
        share: float,
        path: _Path,
        begun: Tensor | None = None,  # (B, N): changes to go on from
    ) -> tuple[Tensor, Tensor]:
        """Return inputs (B, N) after projected ascent of the margin within one threat."""
        eps = UNIT * threat.eps * share
        length = path.length * eps
        head = model.head(inputs.shape[1:], "log_energy")
        if begun is not None:
            start = threat.projected(begun, eps)
        else:
            start = threat.drawn(inputs, eps) if self.random_start else torch.zeros_like(inputs)
        moved, rows = (
            (inputs + start).clamp_(-1, 1),
            torch.arange(len(inputs), device=labels.device),
        )
        moving = torch.zeros_like(labels, dtype=torch.bool)
        for _ in range(path.steps):
            here = moved[rows]
            scores = head(here)
            pull = scores.pull(_margin_weights(scores.values, labels[rows]))
            direction, size = unit(pull, threat.norm)
            moving[rows] |= (size > 0) & size.isfinite()
            change = threat.projected(here + length * direction - inputs[rows], eps)
            if self.enough is None:
                moved[rows] = (inputs[rows] + change).clamp_(-1, 1)
                continue
            right, other = own_and_best_other(scores.values, labels[rows])
            going = other - right < self.enough
            rows = rows[going]
            if not len(rows):
                break
            moved[rows] = (inputs[rows] + change[going]).clamp_(-1, 1)
        return moved, moving


def check_threats(text: str) -> str:
    """Return the text; raise InputError unless it is empty, or norms and sizes as in ``parse``."""
    if text != "":
        threats(text)
    return text


def check_radius(text: str) -> str:
    """Return the text; raise InputError unless it is empty, or one norm and a radius."""
    if text != "" and len(threats(text, "certify")) != 1:
        raise InputError(f"certify = {text!r}: wanted one norm and radius, such as l2:1.58")
    return text


def threats(text: str, name: str = "adversarial") -> tuple[Threat, ...]:
    """Return the threats of a text such as "l2:2.0,linf:0.3"."""
    expected = "NORM:SIZE, such as l2:1.5 or linf:0.3 in [0, 1] units, or several with commas"
    if not isinstance(text, str):
        raise InputError(f"{name}: wanted {expected}, got {type(text).__name__}")
    threats = []
    for pair in text.split(","):
        norm, _, size = (each.strip() for each in pair.partition(":"))
        try:
            threats.append(Threat(norm.lower(), float(size)))  # type: ignore[arg-type]
        except (ValueError, InputError) as error:
            raise InputError(f"{name} = {text!r}: wanted {expected}") from error
    return tuple(threats)


def _margin_weights(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the derivative of L_c - L_y by scores, (B, C): +1 for the best other class c."""
    best_other = scores.scatter(1, labels[:, None], -torch.inf).argmax(dim=1, keepdim=True)
    weights = torch.zeros_like(scores).scatter_(1, best_other, 1.0)
    return weights.scatter_(1, labels[:, None], -1.0)

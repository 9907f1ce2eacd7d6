"""Evaluation of a guard: on junk, on attacked images, and on clean ones that it must let through.

Every share of rejected junk stands beside the share of clean images that the same threshold
rejects: one without the other says nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal

from torch import Tensor

from denseam.checks import number
from denseam.classifier import Classifier
from denseam.data import ImageSet
from denseam.descent import cross_boundary, rubbish, sign_gradient
from denseam.errors import InputError
from denseam.evaluation import wilson_interval
from denseam.guard.guard import Guard
from denseam.guard.junk import junk_sets
from denseam.guard.metrics import CoverageRisk, Separation, coverage_risk, separation
from denseam.guard.verdict import Verdicts
from denseam.showing import Drawn, Shown, Tabular

Kind = Literal["junk", "attacked", "other"]
_DRAWN = 3  # trials in the figure


@dataclass(frozen=True, repr=False)
class Trial(Shown):
    """Images that a guard is tried on.

    Attributes:
        name: what to call them.
        kind: "junk" should be rejected; "attacked" images rejected or labelled rightly; for "other"
            ones nothing is right or wrong.
        visible: (M, N) in [-1, 1].
        labels: (M,) right labels, of those that have one.
    """

    name: str
    kind: Kind
    visible: Tensor
    labels: Tensor | None = None


@dataclass(frozen=True, repr=False)
class Finding(Shown):
    """The result of one trial, as shares of its images; None where there is no right label.

    Attributes:
        count: M.
        rejected: set aside; ``low`` to ``high`` is its 95 % interval.
        right: accepted, and labelled rightly.
        wrong: accepted, and labelled wrongly.
        marked: accepted as "disagree".
        alone: labelled wrongly by the classifier without a guard.
        separation: of these images, as positive ones, from the clean ones.
    """

    name: str
    kind: str
    count: int
    rejected: float
    low: float
    high: float
    right: float | None
    wrong: float | None
    marked: float
    alone: float | None
    separation: Separation | None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, repr=False)
class GuardEvaluation(Shown, Drawn, Tabular):
    """A guard on clean images and on trials."""

    _figure: ClassVar[str] = "guard"

    clean: Finding
    trials: tuple[Finding, ...]
    curve: CoverageRisk  # of the classifier on the clean images, in the order of the scores
    clean_scores: Tensor  # (M,) float64
    trial_scores: Mapping[str, Tensor]
    threshold: float
    n_seen: int = 0  # clean images that the guard was calibrated on: of them it says too little

    def _summary(self) -> str:
        junk = [trial for trial in self.trials if trial.kind == "junk"]
        least = min((trial.rejected for trial in junk), default=None)
        hardest = "" if least is None else f", of {len(junk)} kinds of junk at least {_pc(least)}"
        return (
            f"rejects {_pc(self.clean.rejected)} of {self.clean.count} clean images{hardest}, "
            f"{len(self.trials)} trials"
        )

    def _columns(self) -> dict[str, list[Any]]:
        rows = [self.clean, *self.trials]
        names = [field.name for field in fields(Finding) if field.name != "separation"]
        auroc = [None if row.separation is None else row.separation.auroc for row in rows]
        return {**{name: [getattr(row, name) for row in rows] for name in names}, "auroc": auroc}

    def _curves(self) -> dict[str, Any]:
        """Return the record of its figure: clean scores beside those hardest to tell from them."""
        finite = {n: s for n, s in self.trial_scores.items() if bool(s.isfinite().any())}
        hardest = sorted(finite, key=lambda name: float(finite[name].median()))[:_DRAWN]
        return {
            "names": ("clean", *hardest),
            "scores": (self.clean_scores, *(finite[name] for name in hardest)),
            "threshold": self.threshold,
            "curves": ("classifier",),
            "coverage": (self.curve.coverage,),
            "risk": (self.curve.risk,),
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; of scores and curve only the area under the latter."""
        return {
            "clean": self.clean.to_json(),
            "trials": [trial.to_json() for trial in self.trials],
            "coverage_risk_area": self.curve.area,
            "n_seen": self.n_seen,
            "threshold": self.threshold,
        }


def evaluate_guard(
    guard: Guard,
    clean: ImageSet,
    trials: Sequence[Trial],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> GuardEvaluation:
    """Try a guard.

    Args:
        guard: calibrated, on other clean images than these.
        clean: labelled.
        trials: what else to show it.
        on_progress: told of sets done and sets in all.

    Raises:
        InputError: for images that do not fit, a trial of no image, or before ``calibrate``.
    """
    for trial in trials:
        if not len(trial.visible):
            raise InputError(f"the trial {trial.name!r} has no image: wanted at least one")
    visible, threshold = clean.visible(), guard.threshold
    verdicts = guard.predict(clean)
    alone = guard.classifier.labels(visible)
    first = _finding(Trial("clean", "other", visible, clean.labels), verdicts, alone, None)
    findings, scores = [], {}
    for k, trial in enumerate(trials):
        answer = guard.predict(trial.visible)
        labelled = None if trial.labels is None else guard.classifier.labels(trial.visible)
        apart = None if trial.kind == "other" else separation(verdicts.scores, answer.scores)
        findings.append(_finding(trial, answer, labelled, apart))
        scores[trial.name] = answer.scores
        if on_progress is not None:
            on_progress(k + 1, len(trials))
    curve = coverage_risk(verdicts.scores, alone != clean.labels)
    n_seen = int(guard.seen(clean).sum())
    return GuardEvaluation(
        first, tuple(findings), curve, verdicts.scores, scores, threshold, n_seen
    )


def make_trials(
    clean: ImageSet,
    models: Mapping[str, Classifier],
    *,
    eps: Sequence[float] = (0.2, 0.4),
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Trial]:
    """Make trials: junk, and against every model rubbish, images behind the boundary, and FGSM.

    Args:
        clean: what they are made of.
        models: by name.
        eps: sizes of the steps, visible units.
        seed: of everything random.
        on_progress: told of sets done and sets in all.

    Raises:
        InputError: for images that do not fit the models, or no image at all.
    """
    if not len(clean):
        raise InputError("trials of no image: wanted at least one")
    trials = [Trial(name, "junk", images) for name, images in junk_sets(clean, seed).items()]
    eps = [number("eps", size, above=0, unit="visible units") for size in eps]  # there may be none
    total = len(trials) + len(models) * (2 + len(eps))
    for name, model in models.items():
        visible, labels = clean.visible(model.memories.dtype, model.memories.device), clean.labels
        for trial in _against(name, model, visible, labels, eps=eps, seed=seed):
            trials.append(trial)
            if on_progress is not None:
                on_progress(len(trials), total)
    return trials


def _against(
    name: str, model: Classifier, visible: Tensor, labels: Tensor, *,
    eps: Sequence[float], seed: int,
) -> list[Trial]:  # fmt: skip
    """Return trials against one model; of rubbish and boundary images only those that fool it."""
    per_class = max(1, len(visible) // (2 * model.n_classes))
    noise = rubbish(model, per_class=per_class, max_steps=1500, seed=seed)
    trials = [Trial(f"rubbish of {name}", "junk", _whole(noise.images[noise.success]))]
    crossed = cross_boundary(model, visible, mode="controlled", seed=seed)
    rows = crossed.success & (model.predict(visible).cpu() == labels)
    images = _whole(crossed.images[rows])
    trials.append(Trial(f"boundary of {name}", "attacked", images, labels[rows]))
    for size in eps:
        images = _whole(sign_gradient(model, visible, labels, eps=size).images)
        title = f"FGSM of {name}, {size / 2:g}"
        trials.append(Trial(title, "attacked", images, labels))
    return [trial for trial in trials if len(trial.visible)]


def _pc(share: float) -> str:
    return f"{100 * share:.1f} %"


def _whole(images: Tensor) -> Tensor:
    return images.detach().float().cpu()


def _finding(
    trial: Trial, said: Verdicts, alone: Tensor | None, apart: Separation | None
) -> Finding:
    count, rejected = len(said), said.n_rejected
    low, high = wilson_interval(rejected, count)
    right = wrong = error = None
    if trial.labels is not None and alone is not None:
        hit = said.labels == trial.labels
        right = float((said.accepted & hit).double().mean())
        wrong = float((said.accepted & ~hit).double().mean())
        error = float((alone != trial.labels).double().mean())
    marked = said.reason_counts().get("disagree", 0) / count
    return Finding(
        trial.name, trial.kind, count, rejected / count, low, high, right, wrong, marked, error,
        apart,
    )  # fmt: skip

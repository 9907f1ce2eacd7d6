"""Section 6: images moved along signs of gradients (Fig. 8), BIM and least likely class."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from denseam import energy
from denseam.analysis import confidence_of
from denseam.classifier import Classifier
from denseam.descent import basic_iterative, least_likely, sign_gradient
from denseam.descent.common import loss_power_of
from denseam.evaluation import wilson_interval
from denseam.figures import sign as figure
from denseam.figures.sign import SignCurves
from denseam.study.findings import Figure, Findings, Row
from denseam.study.plan import Plan
from denseam.study.stage import Place, Stage
from denseam.study.stages.common import mean, part_of, proportion
from denseam.study.study import Study
from denseam.study.subjects import Subject

__all__ = ["HEADS", "stages"]

HEADS = {
    "tanh": "the paper's objective on Y, directions exact",
    "log_energy": "cross-entropy on the log-energy, whose gradient does not vanish",
    "tanh-float32": "the paper's objective on Y, gradients as float32 has them",
}
_LOSSES = {"tanh": "objective", "log_energy": "cross_entropy"}
_CHUNK = 1000
_NAMES = {"fgsm": "one step along the sign of the gradient",
          "bim": "the basic iterative method", "llc": "the least likely class"}  # fmt: skip
_TITLES = {"fgsm": "sign of the gradient", "bim": "basic iterative method",
           "llc": "least likely class"}  # fmt: skip

_METHODS: dict[str, Callable[..., Any]] = {
    "fgsm": sign_gradient,
    "bim": basic_iterative,
    "llc": least_likely,
}

# Model, images (B, N), labels (B,), rising sizes -> moved images, a tensor (B, N) for each size.
Attack = Callable[[Classifier, Tensor, Tensor, Sequence[float]], list[Tensor]]


def stages(study: Study) -> list[Stage]:
    """One stage for every method and head; each draws its own Fig. 8."""
    plan = study.plan
    few = plan.eps[::2]
    wanted = [("fgsm", head, plan.sign_images, plan.eps) for head in HEADS]
    wanted += [
        (method, head, plan.iterative_images, few) for method in ("bim", "llc") for head in _LOSSES
    ]
    return [
        Stage(
            f"sign-{method}-{head}", f"{_TITLES[method]}, {head} (Fig. 8)",
            study.alone(f"sign-{method}-{head}"),
            partial(_run, study, method, head, count, eps),
            {"count": count, "eps": eps}
            | _further_settings(plan, method),
            study.inputs(), revision=2,
            expected=len(study.subjects) * len(eps) * count / 15_000
            * (1 if method == "fgsm" else plan.iterative_steps * 0.75),
        )
        for method, head, count, eps in wanted
    ]  # fmt: skip


def _further_settings(plan: Plan, method: str) -> dict[str, Any]:
    if method == "fgsm":
        return {"few": plan.iterative_images}
    return {"steps": plan.iterative_steps}


def _run(
    study: Study, method: str, head: str, count: int, eps: tuple[float, ...], place: Place
) -> Findings:
    images = study.images.test.subset(slice(count))
    attack = _attack(method, head, study.plan.iterative_steps)
    rows: list[Row] = []
    errors, intervals, confidences = [], [], []
    for i, subject in enumerate(study.subjects):
        visible = images.visible(subject.model.memories.dtype)
        wrong, sure = _measure(
            subject.model, visible, images.labels, eps, attack,
            part_of(place.progress, i, len(study.subjects)),
        )  # fmt: skip
        command = partial(_command, study, subject, method, head, eps, place)
        for e, size in enumerate(eps):
            id_ = f"sign/{method}/{head}/{subject.name}/{size:g}"
            what = f"{subject.label}, {_NAMES[method]} of eps = {size:g}, {HEADS[head]}"
            rows.append(
                proportion(id_, f"error of {what}", int(wrong[e].sum()), count, command(count))
            )
            rows += mean(f"{id_}/confidence", f"mean confidence on the errors of {what}",
                         sure[e][wrong[e]], command(count), "%")  # fmt: skip
            if method == "fgsm" and size in study.plan.eps[::2]:
                few = study.plan.iterative_images  # the images of the iterative methods
                rows.append(
                    proportion(
                        f"sign/fgsm-few/{head}/{subject.name}/{size:g}",
                        f"error of {what}, the first {few} images",
                        int(wrong[e][:few].sum()), few, command(few),
                    )
                )  # fmt: skip
        failed = [int(each.sum()) for each in wrong]
        errors.append([each / count for each in failed])
        intervals.append([wilson_interval(each, count) for each in failed])
        confidences.append([float(sure[e][wrong[e]].mean()) for e in range(len(eps))])
    record = SignCurves(
        tuple(subject.label for subject in study.subjects), eps, torch.tensor(errors),
        torch.tensor(intervals), torch.tensor(confidences), count,
    )  # fmt: skip
    figure.save(record, place.folder / "fig8.png")
    name = _NAMES[method]
    picture = Figure(
        f"fig8-{method}-{head}", "fig8.png", f"{name[0].upper()}{name[1:]}, {head}",
        f"Error, and mean confidence (beta_sm = 3.2) on the wrong images, of each model on {count} "
        f"test images moved against itself: {HEADS[head]}. The paper's Fig. 8.",
    )  # fmt: skip
    return Findings(tuple(rows), figures=(picture,))


def _command(
    study: Study,
    subject: Subject,
    method: str,
    head: str,
    eps: tuple[float, ...],
    place: Place,
    count: int,
) -> str:
    """The command line that gives a model's rows again."""
    if head not in _LOSSES:
        return study.alone(place.folder.name)
    options = ["--method", method, "--eps", *(f"{size:g}" for size in eps)]
    options += ["--head", head, "--count", str(count), "--out", "SET.safetensors"]
    if method != "fgsm":
        options += ["--steps", str(study.plan.iterative_steps)]
    return study.command("attack", subject, *options)


def _measure(
    model: Classifier,
    visible: Tensor,  # (M, N)
    labels: Tensor,  # (M,)
    eps: tuple[float, ...],
    attack: Attack,
    progress: Callable[[int, int], None],
) -> tuple[list[Tensor], list[Tensor]]:
    """For every size, which images are labelled wrongly, (M,) bool, and how sure the model is."""
    wrong: list[list[Tensor]] = [[] for _ in eps]
    sure: list[list[Tensor]] = [[] for _ in eps]
    for start in range(0, len(visible), _CHUNK):
        v, right = visible[start : start + _CHUNK], labels[start : start + _CHUNK]
        moved = attack(model, v, right, [size for size in eps if size > 0])
        for e, images in enumerate([v, *moved] if 0 in eps else moved):
            with torch.no_grad():
                sure[e].append(confidence_of(model(images)))
            wrong[e].append(model.predict(images) != right)
        progress(start + len(v), len(visible))
    return [torch.cat(each) for each in wrong], [torch.cat(each) for each in sure]


def _attack(method: str, head: str, steps: int) -> Attack:
    if head not in _LOSSES:
        return _float32_sign
    options: dict[str, Any] = {"loss": _LOSSES[head], "chunk": _CHUNK}
    if method != "fgsm":
        options["steps"] = steps
    run = _METHODS[method]

    def attack(
        model: Classifier, visible: Tensor, labels: Tensor, sizes: Sequence[float]
    ) -> list[Tensor]:
        return [found.images for found in run(model, visible, labels, sizes, **options)]

    return attack


def _float32_sign(
    model: Classifier, visible: Tensor, labels: Tensor, sizes: Sequence[float]
) -> list[Tensor]:
    """One step as anyone would program it: autograd of C, through tanh, in the model's dtype.

    Where tanh has saturated that gradient is exactly zero, and the image stays where it is.
    """
    images = visible.clone().requires_grad_()
    target = energy.targets(labels, model.n_classes, visible.dtype)
    objective = energy.objective(model(images), target, loss_power_of(model, None))
    (gradient,) = torch.autograd.grad(objective, images)
    return [(visible + size * gradient.sign()).clamp(-1, 1) for size in sizes]

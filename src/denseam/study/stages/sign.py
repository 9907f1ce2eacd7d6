"""Section 6: images moved along signs of gradients (Fig. 8), BIM and least likely class."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from denseam import energy
from denseam.analysis import confidence_of
from denseam.classifier import Classifier
from denseam.data import ImageSet
from denseam.descent import basic_iterative, least_likely, sign_gradient
from denseam.descent.goals import loss_power_of
from denseam.figures import sign as figure
from denseam.figures.records import sign_record
from denseam.study.findings import Figure, Findings, Row
from denseam.study.stage import Place, Stage
from denseam.study.stages.common import mean, part_of, proportion
from denseam.study.study import Study
from denseam.study.subjects import Subject

HEADS = {
    "tanh": "the paper's objective on Y, exact directions",
    "log_energy": "cross-entropy on the log-energy, whose gradient does not vanish",
    "tanh-float32": "the paper's objective on Y, float32 gradients",
}
_LOSSES = {"tanh": "objective", "log_energy": "cross_entropy"}
_CHUNK = 1000
_METHODS: dict[str, tuple[Callable[..., Any], str, str]] = {  # with their titles, and in a sentence
    "fgsm": (sign_gradient, "sign of the gradient", "one step along the sign of the gradient"),
    "bim": (basic_iterative, "basic iterative method", "the basic iterative method"),
    "llc": (least_likely, "least likely class", "the least likely class"),
}

# Model, images (B, N), labels (B,), rising sizes -> moved images, a tensor (B, N) for each size.
Attack = Callable[[Classifier, Tensor, Tensor, Sequence[float]], list[Tensor]]


def stages(study: Study) -> list[Stage]:
    """Return one stage for every method and head; each draws its own Fig. 8."""
    plan = study.plan
    runs = [("fgsm", head, plan.sign_images, plan.eps) for head in HEADS]
    runs += [
        (method, head, plan.iterative_images, plan.eps[::2])
        for method in ("bim", "llc")
        for head in _LOSSES
    ]
    few, steps = {"few": plan.iterative_images}, {"steps": plan.iterative_steps}
    return [
        Stage(
            f"sign-{method}-{head}", f"{_METHODS[method][1]}, {head} (Fig. 8)",
            study.alone(f"sign-{method}-{head}"),
            partial(_run, study, method, head, count, eps),
            {"count": count, "eps": eps} | (few if method == "fgsm" else steps),
            study.inputs(), revision=2,
            expected=len(study.subjects) * len(eps) * count / 15_000
            * (1 if method == "fgsm" else plan.iterative_steps * 0.75),
        )
        for method, head, count, eps in runs
    ]  # fmt: skip


def _run(
    study: Study, method: str, head: str, count: int, eps: tuple[float, ...], place: Place
) -> Findings:
    images, subjects = study.images.test.subset(slice(count)), study.subjects
    attack = attack_of(method, head, study.plan.iterative_steps)
    few = study.plan.iterative_images  # the images of the iterative methods
    name = _METHODS[method][2]
    rows: list[Row] = []
    outcomes = []
    for i, subject in enumerate(subjects):
        progress = part_of(place.progress, i, len(subjects))
        wrong, sure = measure(subject.model, images, eps, attack, progress)
        outcomes.append((wrong, sure))
        command = partial(_command, study, subject, method, head, eps)
        for e, size in enumerate(eps):
            id_ = f"sign/{method}/{head}/{subject.name}/{size:g}"
            what = f"{subject.label}, {name}, eps = {size:g}, {HEADS[head]}"
            rows.append(
                proportion(id_, f"error of {what}", int(wrong[e].sum()), count, command(count))
            )
            rows += mean(f"{id_}/confidence", f"mean confidence on the errors of {what}",
                         sure[e][wrong[e]], command(count), "%")  # fmt: skip
            if method == "fgsm" and size in study.plan.eps[::2]:
                rows.append(
                    proportion(
                        f"sign/fgsm-few/{head}/{subject.name}/{size:g}",
                        f"error of {what}, the first {few} images",
                        int(wrong[e][:few].sum()), few, command(few),
                    )
                )  # fmt: skip
    record = sign_record([subject.label for subject in subjects], eps, outcomes)
    figure.save(record, place.folder / "fig8.png")
    picture = Figure(
        f"fig8-{method}-{head}", "fig8.png", f"{name[0].upper()}{name[1:]}, {head}",
        f"Error, and mean confidence (beta_sm = 3.2) on the wrong images, of each model on {count} "
        f"test images, moved against that model: {HEADS[head]}. The paper's Fig. 8.",
    )  # fmt: skip
    return Findings(tuple(rows), figures=(picture,))


def _command(
    study: Study, subject: Subject, method: str, head: str, eps: tuple[float, ...], count: int
) -> str:
    """Return the command line that repeats a model's rows."""
    if head not in _LOSSES:
        return study.alone(f"sign-{method}-{head}")
    options = ["--method", method, "--eps", *(f"{size:g}" for size in eps)]
    options += ["--head", head, "--count", str(count), "--out", "SET.safetensors"]
    if method != "fgsm":
        options += ["--steps", str(study.plan.iterative_steps)]
    return study.command("attack", subject, *options)


def measure(
    model: Classifier,
    images: ImageSet,
    eps: Sequence[float],  # E rising sizes, visible units; 0 leaves images as they are
    attack: Attack,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[Tensor, Tensor]:
    """Return which moved images get a wrong label, (E, M) bool, and confidences (E, M)."""
    visible = images.visible(model.memories.dtype, model.memories.device)
    labels = images.labels.to(visible.device)
    wrong, sure = [], []
    for start in range(0, len(visible), _CHUNK):
        v, right = visible[start : start + _CHUNK], labels[start : start + _CHUNK]
        moved = attack(model, v, right, [size for size in eps if size > 0])
        tried = [v, *moved] if 0 in eps else moved
        wrong.append(torch.stack([model.predict(each) != right for each in tried]).cpu())
        with torch.no_grad():
            sure.append(torch.stack([confidence_of(model(each)) for each in tried]).cpu())
        progress(start + len(v), len(visible))
    return torch.cat(wrong, dim=1), torch.cat(sure, dim=1)


def attack_of(method: str, head: str, steps: int = 1) -> Attack:
    """Return the attack that a method makes through a head."""
    if head not in _LOSSES:
        return _float32_sign
    options: dict[str, Any] = {"loss": _LOSSES[head], "chunk": _CHUNK}
    if method != "fgsm":
        options["steps"] = steps
    run, *_ = _METHODS[method]
    return lambda model, visible, labels, sizes: [
        each.images for each in run(model, visible, labels, sizes, **options)
    ]


def _float32_sign(
    model: Classifier, visible: Tensor, labels: Tensor, sizes: Sequence[float]
) -> list[Tensor]:
    """Make one step as anyone would program it: autograd of C, through tanh, in the model's dtype.

    Where tanh has saturated that gradient is exactly zero, and the image stays where it is.
    """
    images = visible.clone().requires_grad_()
    target = energy.targets(labels, model.n_classes, visible.dtype)
    objective = energy.objective(model(images), target, loss_power_of(model, None))
    (gradient,) = torch.autograd.grad(objective, images)
    return [(visible + size * gradient.sign()).clamp(-1, 1) for size in sizes]

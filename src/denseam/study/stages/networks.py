"""Section 7: memories and other networks, attacked in the same way."""

from functools import partial

import torch
from torch import Tensor

from denseam.analysis import transfer_errors
from denseam.data import ImageSet
from denseam.descent import boundary_set, minimum_norm
from denseam.evaluation import predict_images
from denseam.figures import budget
from denseam.figures import sign as figure
from denseam.figures.records import sign_record
from denseam.heads import Norm
from denseam.study.findings import Figure, Findings, Row, Table
from denseam.study.stage import Place, Stage
from denseam.study.stages import sign
from denseam.study.stages.boundary import set_name
from denseam.study.stages.common import proportion, quartiles, read_set, transferred
from denseam.study.study import Study
from denseam.study.subjects import Subject

_CURVES = 8  # that can be told apart in a figure
_NORMS: tuple[Norm, ...] = ("l2", "linf")
_WORDS = {"l2": "L2", "linf": "Linf"}


def stages(study: Study) -> list[Stage]:
    """Return the stages of the other networks: distances, one-step attacks, transfer."""
    if not study.others:
        return []
    plan, total, few = study.plan, len(study.everyone), study.plan.distance_images
    inputs = study.inputs(study.everyone)
    return [
        Stage(
            "networks", "other networks: errors, distances (section 7)",
            study.alone("networks"), partial(_distances, study), {"count": few}, inputs,
            expected=total * few / 9, revision=3,
        ),
        Stage(
            "networks-sign", "other networks: sign of the gradient (Fig. 8, section 7)",
            study.alone("networks-sign"), partial(_sign, study),
            {"count": plan.network_images, "eps": plan.eps[::2]}, inputs,
            expected=total * plan.network_images / 600,
        ),
        Stage(
            "networks-transfer", "other networks: adversarial transfer (Fig. 5, section 7)",
            study.alone("networks-transfer"), partial(_transfer, study), {"count": few}, inputs,
            needs=tuple(set_name(subject) for subject in study.subjects),
            expected=len(study.others) * few / 24,
        ),
    ]  # fmt: skip


def _distances(study: Study, place: Place) -> Findings:
    test, everyone = study.images.test, study.everyone
    images = test.subset(slice(study.plan.distance_images))
    rows: list[Row] = []
    lines, curves = [], []
    for i, subject in enumerate(everyone):
        name, label = subject.name, subject.label
        wrong = int((predict_images(subject.model, test).cpu() != test.labels).sum())
        command = study.command("evaluate", subject)
        rows.append(
            proportion(
                f"networks/error/{name}", f"test error of {label}", wrong, len(test), command
            )
        )
        cells = [rows[-1].id]
        distances, l2 = distance_rows(study, subject, images, "networks")
        rows += distances
        cells += [row.id for row in distances]
        curves.append((label, l2))
        lines.append((label, tuple(cells)))
        place.progress(i + 1, len(everyone))
    names, nearest = zip(*curves[-_CURVES:], strict=True)
    budget.save(budget.BudgetCurves(names, nearest, "l2"), place.folder / "budget.png")
    table = Table(
        "networks", "Memories and other networks",
        f"Test error on {len(test)} images, and medians over the first {len(images)} of the "
        "distance to the nearest image that is labelled wrongly, found by the minimum-norm attack, "
        "in visible units; brackets hold quartiles. The other networks have one hidden layer and "
        "were trained by the same rule.",
        ("network", "test error", "L2 distance", "Linf distance"), tuple(lines),
    )  # fmt: skip
    picture = Figure(
        "networks", "budget.png", "What an attacker needs",
        f"Accuracy left on {len(images)} test images as an attacker may move each of them farther, "
        "by the minimum-norm attack.",
    )  # fmt: skip
    return Findings(tuple(rows), (table,), (picture,))


def distance_rows(
    study: Study, subject: Subject, images: ImageSet, prefix: str
) -> tuple[list[Row], Tensor]:
    """Return median L2 and Linf distances of wrong images, and all L2 ones, (M,) in [0, 1] units.

    Ids of the rows begin with a prefix.
    """
    rows, nearest = [], {norm: _nearest(subject, images, norm) for norm in _NORMS}
    for norm, distances in nearest.items():
        options = ["--method", "minimum", "--norm", norm, "--count", len(images)]
        rows.append(
            quartiles(
                f"{prefix}/{norm}/{subject.name}",
                f"median {_WORDS[norm]} distance of the nearest wrong image, {subject.label}",
                distances.clamp(max=_farthest(norm, images.n_visible)),
                study.command("attack", subject, *options, "--out", "SET.safetensors"),
            )
        )
    return rows, nearest["l2"] / 2


def _nearest(subject: Subject, images: ImageSet, norm: Norm) -> Tensor:
    """Return distances (M,) of the nearest wrong images, visible units; inf where none is."""
    visible = images.visible(subject.model.memories.dtype, subject.model.memories.device)
    nearest = minimum_norm(
        subject.model, visible, images.labels.to(visible.device), norm=norm, eight_bit=False
    )
    distances = nearest.distances.l2 if norm == "l2" else nearest.distances.linf
    return torch.where(nearest.success, distances, torch.inf).cpu()


def _farthest(norm: Norm, n_visible: int) -> float:
    """Return the largest distance between images in [-1, 1], visible units."""
    return 2.0 * n_visible**0.5 if norm == "l2" else 2.0


def _sign(study: Study, place: Place) -> Findings:
    images, eps = study.images.test.subset(slice(study.plan.network_images)), study.plan.eps[::2]
    everyone, command = study.everyone, study.alone("networks-sign")
    rows: list[Row] = []
    outcomes = []
    for i, subject in enumerate(everyone):
        outcomes.append(sign.measure(subject.model, images, eps, sign.attack_of("fgsm", "tanh")))
        for size, bad in zip(eps, outcomes[-1][0], strict=True):
            what = f"error of {subject.label}, one step of eps = {size:g} on the paper's objective"
            id_ = f"networks/sign/{subject.name}/{size:g}"
            rows.append(proportion(id_, what, int(bad.sum()), len(images), command))
        place.progress(i + 1, len(everyone))
    labels = [subject.label for subject in everyone]
    record = sign_record(labels[-_CURVES:], eps, outcomes[-_CURVES:])
    figure.save(record, place.folder / "fig8.png")
    picture = Figure(
        "networks-sign", "fig8.png", "One step along the sign of the gradient, other networks",
        f"As Fig. 8, on {len(images)} test images, of the memories with large n and of other "
        "networks.",
    )  # fmt: skip
    return Findings(tuple(rows), (), (picture,))


def _transfer(study: Study, place: Place) -> Findings:
    count = study.plan.distance_images
    clean = study.images.test.subset(slice(count))
    sets = {s.label: read_set(place, set_name(s)).subset(slice(count)) for s in study.subjects}
    for i, subject in enumerate(study.others):
        sets[subject.label] = boundary_set(subject.model, clean, mode="controlled")
        place.progress(i + 1, len(study.others) + 1)
    errors = transfer_errors({s.label: s.model for s in study.everyone}, sets)
    names = [s.name for s in study.everyone]
    rows, lines = transferred(
        "networks/transfer", "error of {victim} on boundary images of {source}", errors, names,
        names, lambda _r, _v: study.alone("networks-transfer"),
    )  # fmt: skip
    table = Table(
        "networks-transfer", "Adversarial transfer, other networks",
        f"Errors (columns) on {count} images moved just across a decision boundary of a network "
        "(rows).",
        ("images of", *errors.victims), lines,
    )  # fmt: skip
    return Findings(tuple(rows), (table,))

"""Section 7: the memories beside other networks, attacked in the same way."""

from functools import partial

import torch
from torch import Tensor

from denseam.analysis import confidence_of, transfer_errors
from denseam.data import ImageSet
from denseam.descent import boundary_set, minimum_norm, sign_gradient
from denseam.descent.common import loss_power_of
from denseam.descent.loop import Norm
from denseam.evaluation import predict_images, wilson_interval
from denseam.figures import budget as budget_figure
from denseam.figures import sign as sign_figure
from denseam.figures.budget import BudgetCurves
from denseam.figures.sign import SignCurves
from denseam.study.findings import Figure, Findings, Row, Table
from denseam.study.stage import Place, Stage
from denseam.study.stages.boundary import set_name
from denseam.study.stages.common import proportion
from denseam.study.stages.transfer import read_set
from denseam.study.study import Study
from denseam.study.subjects import Subject

__all__ = ["stages"]

_CURVES = 8  # that can be told apart in a figure
_NORMS: tuple[Norm, ...] = ("l2", "linf")
_WORDS = {"l2": "L2", "linf": "Linf"}


def stages(study: Study) -> list[Stage]:
    """Errors and distances, one-step attacks, transfer; none where there are no other networks."""
    if not study.others:
        return []
    plan, all_of_them = study.plan, (*study.subjects, *study.others)
    inputs = study.inputs(all_of_them)
    few = plan.distance_images
    return [
        Stage(
            "networks", "other networks: errors, distances (section 7)",
            study.alone("networks"), partial(_distances, study), {"count": few}, inputs,
            expected=len(all_of_them) * few / 12, revision=3,
        ),
        Stage(
            "networks-sign", "other networks: sign of the gradient (Fig. 8, section 7)",
            study.alone("networks-sign"), partial(_sign, study),
            {"count": plan.network_images, "eps": plan.eps[::2]}, inputs,
            expected=len(all_of_them) * plan.network_images / 300,
        ),
        Stage(
            "networks-transfer", "other networks: adversarial transfer (Fig. 5, section 7)",
            study.alone("networks-transfer"), partial(_transfer, study), {"count": few}, inputs,
            needs=tuple(set_name(subject) for subject in study.subjects),
            expected=len(study.others) * few / 10,
        ),
    ]  # fmt: skip


def _everyone(study: Study) -> tuple[Subject, ...]:
    return (*study.subjects, *study.others)


def _distances(study: Study, place: Place) -> Findings:
    test = study.images.test
    images = test.subset(slice(study.plan.distance_images))
    rows: list[Row] = []
    lines, curves = [], []
    for i, subject in enumerate(_everyone(study)):
        name, label = subject.name, subject.label
        wrong = int((predict_images(subject.model, test).cpu() != test.labels).sum())
        command = study.command("evaluate", subject)
        rows.append(
            proportion(
                f"networks/error/{name}", f"test error of {label}", wrong, len(test), command
            )
        )
        cells = [rows[-1].id]
        for norm in _NORMS:
            found = _nearest(subject, images, norm)
            options = ["--method", "minimum", "--norm", norm, "--count", len(images)]
            command = study.command("attack", subject, *options, "--out", "SET.safetensors")
            farthest = _farthest(norm, images.n_visible)
            rows.append(
                _median(f"networks/{norm}/{name}", label, norm, found.clamp(max=farthest), command)
            )
            cells.append(rows[-1].id)
            if norm == "l2":
                curves.append((label, found / 2))
        lines.append((label, tuple(cells)))
        place.progress(i + 1, len(_everyone(study)))
    shown = curves[-_CURVES:]
    names, distances = zip(*shown, strict=True)
    budget_figure.save(BudgetCurves(names, distances, "l2"), place.folder / "budget.png")
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


def _nearest(subject: Subject, images: ImageSet, norm: Norm) -> Tensor:
    """Distances (M,) of the nearest wrong images, visible units; inf where none was found."""
    visible = images.visible(subject.model.memories.dtype, subject.model.memories.device)
    labels = images.labels.to(visible.device)
    found = minimum_norm(subject.model, visible, labels, norm=norm)
    distances = found.distances.l2 if norm == "l2" else found.distances.linf
    return torch.where(found.success, distances, torch.inf).cpu()


def _farthest(norm: Norm, n_visible: int) -> float:
    """How far apart images in [-1, 1] can be, visible units."""
    return 2.0 * n_visible**0.5 if norm == "l2" else 2.0


def _median(id_: str, label: str, norm: Norm, found: Tensor, command: str) -> Row:
    """The median, with the quartiles."""
    low, middle, high = torch.quantile(found.double(), torch.tensor([0.25, 0.5, 0.75]).double())
    what = f"median {_WORDS[norm]} distance of the nearest wrong image, {label}; with the quartiles"
    return Row(
        id_, what, float(middle), command, "visible units", float(low), float(high), len(found)
    )


def _sign(study: Study, place: Place) -> Findings:
    images, eps = study.images.test.subset(slice(study.plan.network_images)), study.plan.eps[::2]
    rows: list[Row] = []
    errors, intervals, confidences, names = [], [], [], []
    for i, subject in enumerate(_everyone(study)):
        wrong, sure = _one_step(subject, images, eps)
        command = study.alone("networks-sign")
        count = len(images)
        for size, bad in zip(eps, wrong, strict=True):
            what = f"error of {subject.label}, one step of eps = {size:g} on the paper's objective"
            id_ = f"networks/sign/{subject.name}/{size:g}"
            rows.append(proportion(id_, what, int(bad.sum()), count, command))
        failed = [int(bad.sum()) for bad in wrong]
        errors.append([each / count for each in failed])
        intervals.append([wilson_interval(each, count) for each in failed])
        confidences.append([float(z[bad].mean()) for z, bad in zip(sure, wrong, strict=True)])
        names.append(subject.label)
        place.progress(i + 1, len(_everyone(study)))
    shown = slice(-_CURVES, None)
    record = SignCurves(
        tuple(names[shown]), eps, torch.tensor(errors[shown]), torch.tensor(intervals[shown]),
        torch.tensor(confidences[shown]), len(images),
    )  # fmt: skip
    sign_figure.save(record, place.folder / "fig8.png")
    picture = Figure(
        "networks-sign", "fig8.png", "One step along the sign of the gradient, other networks",
        f"As Fig. 8, on {len(images)} test images, of the memories with large n and of other "
        "networks.",
    )  # fmt: skip
    return Findings(tuple(rows), (), (picture,))


def _one_step(
    subject: Subject, images: ImageSet, eps: tuple[float, ...]
) -> tuple[list[Tensor], list[Tensor]]:
    """For every size which images are labelled wrongly, and how sure the network is, (M,) each."""
    model = subject.model
    visible = images.visible(model.memories.dtype, model.memories.device)
    labels = images.labels.to(visible.device)
    sizes = [size for size in eps if size > 0]
    moved = sign_gradient(model, visible, labels, sizes, loss_power=loss_power_of(model, None))
    tried = [visible] * (len(eps) - len(sizes)) + [each.images for each in moved]
    with torch.no_grad():
        wrong = [(model.predict(each) != labels).cpu() for each in tried]
        sure = [confidence_of(model(each)).cpu() for each in tried]
    return wrong, sure


def _transfer(study: Study, place: Place) -> Findings:
    count = study.plan.distance_images
    clean = study.images.test.subset(slice(count))
    sets = {s.label: read_set(place, set_name(s)).subset(slice(count)) for s in study.subjects}
    for i, subject in enumerate(study.others):
        sets[subject.label] = boundary_set(subject.model, clean, mode="controlled")
        place.progress(i + 1, len(study.others) + 1)
    everyone = _everyone(study)
    found = transfer_errors({s.label: s.model for s in everyone}, sets)
    rows = [
        Row(
            f"networks/transfer/{source.name}/{victim.name}",
            f"error of {victim.label} on boundary images of {source.label}",
            float(found.values[r, v]), study.alone("networks-transfer"), "%",
            float(found.intervals[r, v, 0]), float(found.intervals[r, v, 1]), found.counts[r],
        )
        for r, source in enumerate(everyone)
        for v, victim in enumerate(everyone)
    ]  # fmt: skip
    table = Table(
        "networks-transfer", "Adversarial transfer, other networks",
        f"Errors (columns) on {count} images that were led just across a decision boundary of a "
        "network (rows).",
        ("images of", *(s.label for s in everyone)),
        tuple(
            (source.label, tuple(f"networks/transfer/{source.name}/{v.name}" for v in everyone))
            for source in everyone
        ),
    )  # fmt: skip
    return Findings(tuple(rows), (table,))

"""Study of certificates: what is proven, what attacks leave, and how both move with n.

Of memories in the limit n -> infinity the least distance is the truth, so the curves of proofs and
of attacks meet; at finite n a gap stays. The same memories are read again with rising n. Memories,
rubbish, boundary images and transfer are the stages of the paper's study.
"""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from denseam.certificates import Certificates, certify
from denseam.classifier import Classifier
from denseam.data import ImageSet
from denseam.descent import minimum_norm
from denseam.figures import budget
from denseam.figures import certificates as figure
from denseam.figures.budget import BudgetCurves
from denseam.model import DenseAM
from denseam.study.claims import Claim, Verdict
from denseam.study.findings import Figure, Findings, Line, Row, Table
from denseam.study.stage import Place, Stage
from denseam.study.stages import boundary, confidence, errors, memories, rubbish, transfer
from denseam.study.stages.common import proportion, quartiles
from denseam.study.study import Study
from denseam.study.subjects import Subject

__all__ = ["CLAIMS", "certificate_stages", "read_with"]

POWERS = (30, 100, 300, 1000, 10_000)
SIZES = (0.5, 1.0, 1.58, 2.0)  # L2, [0, 1] units
_KNOWN, _ALL = 0.73, 10_000  # at 1.58: Voracek and Hein, ICML 2022, on all test images


def certificate_stages(study: Study) -> list[Stage]:
    """Return the stages, each after the stages it needs."""
    plan, inputs = study.plan, study.inputs()
    counts = {s.name: plan.boundary_images if _exact(s) else plan.distance_images
              for s in study.subjects}  # fmt: skip
    return [
        errors.stage(study),
        Stage(
            "proofs", "certified accuracy", study.alone("proofs"), partial(_proofs, study, counts),
            {"counts": counts}, inputs, expected=sum(counts.values()) / 60,
        ),
        Stage(
            "between", "proofs beside attacks", study.alone("between"), partial(_between, study),
            {"count": plan.distance_images}, inputs,
            expected=len(study.subjects) * plan.distance_images / 4,
        ),
        Stage(
            "against-n", "the same memories with rising n", study.alone("against-n"),
            partial(_against_n, study), {"count": plan.audit_images, "powers": POWERS}, inputs,
            expected=plan.audit_images,
        ),
        memories.stage(study),
        *rubbish.set_stages(study),
        *boundary.set_stages(study),
        transfer.stage(study),
        confidence.stage(study),
        rubbish.transfer_stage(study),
    ]  # fmt: skip


def read_with(model: Classifier, power: float) -> DenseAM:
    """Return the memories of a model of the limit with another power.

    Votes for other classes are raised alike for all memories, which the limit does not see: fields
    become small and positive, so that a power tells them apart.
    """
    other = DenseAM(model.n_visible, model.n_classes, len(model.memories), power, temperature=1.0)
    values = model.memories.detach().clone()
    votes = values[:, model.n_visible :]
    largest = votes.amax(dim=1)
    votes[votes < largest[:, None]] = largest.min() - 0.05
    other.memories.data = values.to(other.memories.dtype)
    return other


def _exact(subject: Subject) -> bool:
    return math.isinf(getattr(subject.model.energy, "power", 0.0))


def _certify(model: Classifier, images: ImageSet, place: Place | None = None) -> Certificates:
    progress = None if place is None else place.progress
    visible = images.visible(model.memories.dtype)
    return certify(model, visible, images.labels, on_progress=progress)


def _proofs(study: Study, counts: dict[str, int], place: Place) -> Findings:
    rows: list[Row] = []
    lines: list[Line] = []
    curves: list[tuple[str, Tensor]] = []
    for subject in study.subjects:
        images = study.images.test.subset(slice(counts[subject.name]))
        proven = _certify(subject.model, images, place)
        command = study.command("certify", subject, "--count", len(images))
        of_model = _at(f"proofs/{subject.name}", f"certified, {subject.label}", proven.distances,
                       SIZES, command)  # fmt: skip
        of_model.append(
            quartiles(
                f"proofs/{subject.name}/median", f"median radius of {subject.label}",
                proven.radii, command,
            )
        )  # fmt: skip
        rows += of_model
        lines.append((f"{subject.label} ({len(images)} images)", tuple(r.id for r in of_model)))
        curves.append((subject.label, proven.distances))
    _save(curves, place.folder / "proofs.png")
    caption = (
        "Test images that are labelled rightly at every point within an L2 distance, in [0, 1] "
        "units; medians of radii in visible units, brackets hold quartiles."
    )
    columns = ("model", *(f"{size:g}" for size in SIZES), "median radius")
    picture = Figure("proofs", "proofs.png", "What is proven", "Certified accuracy against L2.")
    return Findings(
        tuple(rows), (Table("proofs", "Certified", caption, columns, tuple(lines)),), (picture,)
    )


def _between(study: Study, place: Place) -> Findings:
    """Measure on the same images what proofs hold and what the minimum-norm attack leaves."""
    images = study.images.test.subset(slice(study.plan.distance_images))
    rows: list[Row] = []
    lines: list[Line] = []
    command = study.alone("between")
    for i, subject in enumerate(study.subjects):
        model, label, name = subject.model, subject.label, f"between/{subject.name}"
        proven = _certify(model, images)
        visible = images.visible(model.memories.dtype)
        attack = minimum_norm(model, visible, images.labels, eight_bit=False)
        moved = torch.linalg.vector_norm((attack.images - visible).double(), dim=1) / 2
        moved[~attack.success] = math.inf
        moved[proven.predicted != images.labels] = 0
        inside = int((moved < proven.distances).sum())
        of_model = [
            *_at(f"{name}/proven", f"certified, {label}", proven.distances, (1.58,), command),
            *_at(f"{name}/left", f"left by the attack, {label}", moved, (1.58,), command),
            proportion(f"{name}/inside", f"attacks of {label} that land inside a certificate",
                       inside, len(images), command),
        ]  # fmt: skip
        rows += of_model
        lines.append((label, tuple(row.id for row in of_model)))
        curves = figure.record_of(proven, attacked={"minimum norm": moved})
        figure.save(curves, place.folder / f"{subject.name}.png")
        place.progress(i + 1, len(study.subjects))
    caption = f"The first {len(images)} test images at L2 1.58, [0, 1] units."
    columns = ("model", "certified", "left by the attack", "attacks inside")
    pictures = tuple(
        Figure(f"between-{s.name}", f"{s.name}.png", f"Between proof and attack, {s.label}",
               "The truth lies between the two curves.")
        for s in study.subjects
    )  # fmt: skip
    return Findings(
        tuple(rows), (Table("between", "Proofs and attacks", caption, columns, tuple(lines)),),
        pictures,
    )  # fmt: skip


def _against_n(study: Study, place: Place) -> Findings:
    images = study.images.test.subset(slice(study.plan.audit_images))
    rows: list[Row] = []
    lines: list[Line] = []
    curves: list[tuple[str, Tensor]] = []
    command = study.alone("against-n")
    limits = [subject for subject in study.subjects if _exact(subject)][:1]
    for subject in limits:
        for i, power in enumerate((*POWERS, math.inf)):
            model = subject.model if math.isinf(power) else read_with(subject.model, power)
            visible = images.visible(model.memories.dtype)
            proven = certify(model, visible, images.labels, bound="distance")
            words = "limit" if math.isinf(power) else f"n = {power}"
            name = f"against-n/{'limit' if math.isinf(power) else power}"
            of_power = [
                proportion(f"{name}/error", f"error, {words}",
                           round(proven.error * len(images)), len(images), command),
                *_at(name, f"certified, {words}", proven.distances, SIZES, command),
                quartiles(f"{name}/median", f"median radius, {words}", proven.radii, command),
            ]  # fmt: skip
            rows += of_power
            lines.append((words, tuple(row.id for row in of_power)))
            curves.append((words, proven.distances))
            place.progress(i + 1, len(POWERS) + 1)
    if not limits:
        return Findings((), ())
    _save(curves, place.folder / "against-n.png")
    caption = (
        f"The memories of {limits[0].label}, read with rising n, on {len(images)} test images: L2 "
        "sizes in [0, 1] units, medians in visible units with quartiles."
    )
    columns = ("n", "error", *(f"{size:g}" for size in SIZES), "median radius")
    picture = Figure("against-n", "against-n.png", "What is proven grows with n", caption)
    return Findings(
        tuple(rows), (Table("against-n", "Rising n", caption, columns, tuple(lines)),), (picture,)
    )


def _at(name: str, what: str, distances: Tensor, sizes: Sequence[float], command: str) -> list[Row]:
    """Return one row for each size: the share of distances (M,) beyond it, [0, 1] units."""
    return [
        proportion(f"{name}/{size:g}", f"{what}, L2 {size:g} in [0, 1] units",
                   int((distances > size).sum()), len(distances), command)
        for size in sizes
    ]  # fmt: skip


def _save(curves: Sequence[tuple[str, Tensor]], path: Path) -> None:
    names, distances = zip(*curves, strict=True)
    budget.save(BudgetCurves(names, distances, "l2"), path)


# ---- claims ----------------------------------------------------------------------------------


def _more_than_known(rows: Sequence[Row]) -> Verdict:
    if rows[0].count != _ALL:
        return "cannot be compared"
    return "better" if rows[0].value > _KNOWN else "not reproduced"


def _meet(rows: Sequence[Row]) -> Verdict:
    proven, left = (row.value for row in rows)
    return "reproduced" if abs(left - proven) < 0.03 else "not reproduced"


def _none(rows: Sequence[Row]) -> Verdict:
    return "reproduced" if not any(row.value for row in rows) else "not reproduced"


def _rises(rows: Sequence[Row]) -> Verdict:
    values = [row.value for row in rows]
    return "reproduced" if values == sorted(values) and values[0] < values[-1] else "not reproduced"


_OURS = "a question of this package"
CLAIMS: tuple[Claim, ...] = (
    Claim(
        "known", "Voracek and Hein, ICML 2022",
        "Nearest prototypes certify 73.0 % of MNIST's test images at L2 1.58", "73.0 %",
        ("proofs/prototypes/1.58",), "more than 73.0 % of all 10,000 are certified",
        _more_than_known, "", ("errors/prototypes",),
    ),
    Claim(
        "exact", "§ 7, n → ∞", "In the limit of n a proof finds the boundary itself", _OURS,
        ("between/prototypes/proven/1.58", "between/prototypes/left/1.58"),
        "certified and attacked accuracy are less than 3 points apart at L2 1.58", _meet,
    ),
    Claim(
        "inside", "docs/certificates.md", "No attack lands inside a certificate", _OURS,
        ("between/prototypes/inside",), "there is none", _none, "", ("between/n30/inside",),
    ),
    Claim(
        "thesis", "§ 7", "Large n is robust: what can be proven of the same memories grows with n",
        "in words", tuple(f"against-n/{n}/median" for n in (*POWERS, "limit")),
        "the median radius never falls from one n to the next", _rises,
    ),
    Claim(
        "likeness", "§ 4", "Memories of the limit look like digits", _OURS,
        ("memories/n30/likeness", "memories/prototypes/likeness"),
        "their median likeness to a training image is at least that of n = 30", _rises,
    ),
)  # fmt: skip

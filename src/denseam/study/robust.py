"""Study of adversarial training, section 7 of the paper: what it brings, and what it costs.

Errors, memories, rubbish, boundary images, transfer and confidence are the stages of the paper's
study, with adversarially trained models as further columns. Distances, and how sure models are of
what an attack made wrong, are measured here.

Claims compare models of one power: the first of the list is the plain one, "n30", those after it
are adversarially trained, "n30-2" for L2 and "n30-3" for Linf.
"""

from collections.abc import Sequence
from functools import partial

from denseam.analysis import BETA_SM, confidence_of
from denseam.descent.facts import outputs
from denseam.figures import budget
from denseam.study.claims import Claim, Verdict
from denseam.study.findings import Figure, Findings, Line, Row, Table
from denseam.study.stage import Place, Stage
from denseam.study.stages import boundary, confidence, errors, memories, networks, rubbish, transfer
from denseam.study.stages.common import mean, proportion
from denseam.study.study import Study
from denseam.training import Adversarial

__all__ = ["CLAIMS", "robust_stages"]

_SIZE = 1.5  # L2, [0, 1] units, of the attack on confidence
_STEPS = 40
_CURVES = 8  # that can be told apart in a figure


def robust_stages(study: Study) -> list[Stage]:
    """Return the stages, each after the stages it needs."""
    plan, inputs, total = study.plan, study.inputs(), len(study.subjects)
    return [
        errors.stage(study),
        Stage(
            "distances", "distances of the nearest wrong images", study.alone("distances"),
            partial(_distances, study), {"count": plan.network_images}, inputs,
            expected=total * plan.network_images / 20,
        ),
        memories.stage(study),
        *rubbish.set_stages(study),
        *boundary.set_stages(study),
        transfer.stage(study),
        confidence.stage(study),
        rubbish.transfer_stage(study),
        Stage(
            "sure", "confidence on errors", study.alone("sure"), partial(_sure, study),
            {"count": plan.sign_images, "size": _SIZE, "steps": _STEPS}, inputs,
            needs=("confidence",), expected=total * plan.sign_images / 250,
        ),
    ]  # fmt: skip


def _distances(study: Study, place: Place) -> Findings:
    images = study.images.test.subset(slice(study.plan.network_images))
    rows: list[Row] = []
    lines: list[Line] = []
    curves = []
    for i, subject in enumerate(study.subjects):
        of_model, l2 = networks.distance_rows(study, subject, images, "distances")
        rows += of_model
        lines.append((subject.label, tuple(row.id for row in of_model)))
        curves.append((subject.label, l2))
        place.progress(i + 1, len(study.subjects))
    names, distances = zip(*curves[-_CURVES:], strict=True)
    budget.save(budget.BudgetCurves(names, distances, "l2"), place.folder / "budget.png")
    caption = (
        f"Medians over the first {len(images)} test images of the distance to the nearest wrong "
        "image that the minimum-norm attack finds, in visible units; brackets hold quartiles."
    )
    table = Table("distances", "Distances", caption, ("model", "L2", "Linf"), tuple(lines))
    figure = Figure(
        "distances", "budget.png", "What an attacker needs",
        f"Accuracy left on {len(images)} test images as an attacker may move each of them farther.",
    )  # fmt: skip
    return Findings(tuple(rows), (table,), (figure,))


def _sure(study: Study, place: Place) -> Findings:
    """Measure the confidence in right answers, and in wrong ones, at each model's own beta_sm."""
    test = study.images.test.subset(slice(study.plan.sign_images))
    betas = {row.id: row.value for row in place.before["confidence"].findings.rows}
    command = study.alone("sure")
    attack = Adversarial("l2", _SIZE, steps=_STEPS, mix=1, random_start=False)
    rows: list[Row] = []
    lines: list[Line] = []
    for i, subject in enumerate(study.subjects):
        model, id_ = subject.model, f"sure/{subject.name}"
        visible = test.visible(model.memories.dtype, model.memories.device)
        moved, _ = attack(model, visible, test.labels.to(visible.device), epoch=0)
        beta = betas.get(f"confidence/{subject.name}/beta_sm", BETA_SM)
        predicted, activity = outputs(model, visible, 1000)
        fooled, attacked = outputs(model, moved, 1000)
        wrong, lost = predicted != test.labels, fooled != test.labels
        of_model = [
            *mean(f"{id_}/right", f"mean confidence of {subject.label} in right answers",
                  confidence_of(activity, beta)[~wrong], command, "%"),
            *mean(f"{id_}/wrong", f"mean confidence of {subject.label} in wrong answers",
                  confidence_of(activity, beta)[wrong], command, "%"),
            *mean(f"{id_}/attacked", f"mean confidence of {subject.label} in wrong answers to "
                  f"images attacked by L2 {_SIZE} in [0, 1] units",
                  confidence_of(attacked, beta)[lost], command, "%"),
            proportion(f"{id_}/error", f"error of {subject.label} on images attacked by L2 "
                       f"{_SIZE} in [0, 1] units", int(lost.sum()), len(test), command),
        ]  # fmt: skip
        rows += of_model
        known = {row.id for row in of_model}
        cells = [f"{id_}/{what}" for what in ("right", "wrong", "attacked", "error")]
        lines.append((subject.label, tuple(c if c in known else None for c in cells)))
        place.progress(i + 1, len(study.subjects))
    caption = (
        f"Mean confidences, beta_sm of each model, on {len(test)} test images, and on the same "
        f"images after {_STEPS} steps of an attack on the margin of log-energies."
    )
    columns = ("model", "right", "wrong", "wrong when attacked", "error when attacked")
    return Findings(tuple(rows), (Table("sure", "Confidence", caption, columns, tuple(lines)),))


def _larger_first(rows: Sequence[Row]) -> Verdict:
    first, second = (row.value for row in rows)
    return "reproduced" if first > second else "not reproduced"


_EXPECTED = "expected, without numbers"
_WHERE = "§ 7"

CLAIMS: tuple[Claim, ...] = (
    *(
        Claim(
            f"robust-{n}", _WHERE,
            f"Adversarial training further increases the robustness to adversarial images, n = {n}",
            _EXPECTED, (f"distances/l2/n{n}-2", f"distances/l2/n{n}"),
            "the trained model's median L2 distance is above the plain one's", _larger_first,
        )
        for n in (3, 20, 30)
    ),
    *(
        Claim(
            f"accuracy-{n}", _WHERE,
            f"Adversarial training increases the accuracy on clean images, n = {n}", _EXPECTED,
            (f"errors/n{n}", f"errors/n{n}-2"), "the trained model's test error is the smaller one",
            _larger_first,
        )
        for n in (3, 20, 30)
    ),
    Claim(
        "linf", _WHERE, "Adversarial training for Linf increases the robustness there, n = 30",
        _EXPECTED, ("distances/linf/n30-3", "distances/linf/n30"),
        "the trained model's median Linf distance is above the plain one's", _larger_first, "",
        ("distances/linf/n30-2", "distances/l2/n30-3"),
    ),
    Claim(
        "likeness", _WHERE, "Memories of the robust model look more like digits, n = 30",
        "a question of this package", ("memories/n30-2/likeness", "memories/n30/likeness"),
        "their median likeness to a training image is the larger one", _larger_first,
    ),
    Claim(
        "unsure", _WHERE,
        "Adversarially trained networks stay sure of their errors; memories of large n are not",
        "in words", ("sure/n30-2/right", "sure/n30-2/attacked"),
        "the model trained at n = 30 is less sure of wrong answers to attacked images than of "
        "right ones", _larger_first, "", ("sure/n30/right", "sure/n30/attacked"),
    ),
    Claim(
        "transfer", "§ 5 and 7", "Images that cross boundaries of n = 3 fool the robust model less",
        "a question of this package", ("transfer/n3/n30", "transfer/n3/n30-2"),
        "its error on them is below that of the plain model of n = 30", _larger_first,
    ),
)  # fmt: skip

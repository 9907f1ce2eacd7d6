"""Section 5: adversarial transfer (Fig. 5)."""

import shlex
from functools import partial

import torch

from denseam.analysis import transfer_errors
from denseam.figures import transfer as figure
from denseam.figures.transfer import TransferMap
from denseam.study.findings import Figure, Findings, Table
from denseam.study.stage import Place, Stage
from denseam.study.stages.boundary import set_name
from denseam.study.stages.common import SET_FILE, read_set, transferred
from denseam.study.study import Study

_SHOWN = 4  # images of each set in Fig. 5


def stage(study: Study) -> Stage:
    """Measure the errors of every model on every model's boundary images, and on clean ones."""
    needs = tuple(set_name(subject) for subject in study.subjects)
    return Stage(
        "transfer", "adversarial transfer (Fig. 5)", study.alone("transfer"),
        partial(_run, study), inputs=study.inputs(), needs=needs,
        expected=len(needs) ** 2 * study.plan.boundary_images / 28_000,
    )  # fmt: skip


def _run(study: Study, place: Place) -> Findings:
    models = {subject.label: subject.model for subject in study.subjects}
    images = {s.label: read_set(place, set_name(s)) for s in study.subjects}
    clean = study.images.test.subset(slice(study.plan.boundary_images))
    crossed, untouched = transfer_errors(models, images), transfer_errors(models, {"clean": clean})
    names = [subject.name for subject in study.subjects]
    rows, lines = transferred(
        "transfer", "error of {victim} on boundary images of {source}", crossed, names, names,
        partial(_command, study),
    )  # fmt: skip
    of_clean, ((_, clean_cells),) = transferred(
        "transfer", "error of {victim} on {source} images", untouched, ["clean"], names,
        lambda _r, _v: study.alone("transfer"),
    )  # fmt: skip
    shown = torch.stack([each.images[:_SHOWN] for each in images.values()])
    figure.save(TransferMap(crossed, "error", untouched, shown), place.folder / "fig5.png")
    table = Table(
        "transfer", "Adversarial transfer",
        "Errors of each model (columns) on images one step behind a decision boundary of another "
        "(rows), and on the clean images.",
        ("images of", *models), (*lines, ("clean images", clean_cells)),
    )  # fmt: skip
    picture = Figure(
        "fig5", "fig5.png", "Adversarial transfer",
        f"Errors of the models (columns) on {len(clean)} images moved just across a decision "
        "boundary of another model (rows); the first images of each set stand to the right. The "
        "paper's Fig. 5.",
    )  # fmt: skip
    return Findings((*rows, *of_clean), (table,), (picture,))


def _command(study: Study, source: int, victim: int) -> str:
    file = study.file(set_name(study.subjects[source]), SET_FILE)
    return shlex.join(["denseam", "transfer", study.subjects[victim].source, "--sets", file])

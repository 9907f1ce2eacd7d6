"""Sections 3 and 5.1: rubbish images (Fig. 3), and how they transfer (Fig. 7)."""

import shlex
from functools import partial

import torch

from denseam.analysis import BETA_SM, TransferTable, likeness, transfer_confidence
from denseam.data import ImageSet
from denseam.descent import rubbish_set
from denseam.descent.facts import reached
from denseam.figures import rubbish as grid_figure
from denseam.figures import transfer as figure
from denseam.figures.records import rubbish_grid
from denseam.study.findings import Figure, Findings, Row, Table
from denseam.study.stage import Place, Stage
from denseam.study.stages.common import SET_FILE, mean, proportion, read_set, transferred
from denseam.study.study import Study
from denseam.study.subjects import Subject

_REFERENCE = 10_000  # training images that rubbish is compared with
_SHOWN = 1  # rows of Fig. 3 for each model
_SAMPLES = 5  # images in each row of Fig. 7
_SIDE_PER_CLASS = 10  # images for other readings of the paper's noise than the main one


def set_name(subject: Subject, noise: float) -> str:
    """Return the name of the stage that makes a model's rubbish images from noise."""
    return f"rubbish-{subject.name}-noise-{noise:g}"


def set_stages(study: Study) -> list[Stage]:
    """Make an image set for each model, and a smaller one for every other reading of the noise."""
    plan, stages = study.plan, []
    for noise in plan.rubbish_noise:
        count = _per_class(study, noise)
        for subject in study.subjects:
            images = count * subject.model.n_classes
            name = set_name(subject, noise)
            settings = {"per_class": count, "noise": noise, "step": plan.rubbish_step,
                        "max_steps": plan.rubbish_max_steps, "seed": plan.seed}  # fmt: skip
            stages.append(
                Stage(
                    name, f"{images} rubbish images of {subject.label}, noise of {noise:g}",
                    study.alone(name), partial(_make, study, subject, noise), settings,
                    {"images": study.names, subject.name: subject.digest,
                     "train": study.train_digest},
                    expected=plan.rubbish_max_steps * (0.002 + images * 4.8e-5),
                )
            )  # fmt: skip
    return stages


def _per_class(study: Study, noise: float) -> int:
    per_class = study.plan.rubbish_per_class
    return per_class if noise == study.plan.rubbish_noise[0] else min(per_class, _SIDE_PER_CLASS)


def _make(study: Study, subject: Subject, noise: float, place: Place) -> Findings:
    plan, train = study.plan, study.images.train
    images = rubbish_set(
        subject.model, out=place.folder / SET_FILE, shape=train.shape,
        class_names=train.class_names, per_class=_per_class(study, noise), noise=noise,
        step=plan.rubbish_step, max_steps=plan.rubbish_max_steps, seed=plan.seed, chunk=500,
        on_progress=place.progress,
    )  # fmt: skip
    return Findings(tuple(_rows(study, subject, images, noise)), other_files=(SET_FILE,))


def _rows(study: Study, subject: Subject, images: ImageSet, noise: float) -> list[Row]:
    """Count how the runs ended, and measure how much the images look like real ones."""
    plan = study.plan
    command = shlex.join(map(str, [
        "denseam", "rubbish", subject.source, *_shape_option(study.images.train.shape),
        "--per-class", _per_class(study, noise), "--noise", f"{noise:g}", "--step",
        plan.rubbish_step, "--max-steps", plan.rubbish_max_steps, "--seed", plan.seed,
        "--out", "SET.safetensors",
    ]))  # fmt: skip
    id_, label = f"rubbish/{subject.name}/noise-{noise:g}", subject.label
    reasons = images.metadata["stopped"]
    rows = [
        proportion(
            f"{id_}/reached", f"rubbish images of {label} (noise of {noise:g}) that end labelled "
            "as their class, its Y above 1/2", int(reached(images).sum()), len(images), command,
        )
    ]  # fmt: skip
    for code, reason in enumerate(reasons):
        count = int((images.facts["stopped"] == code).sum())
        if count:
            rows.append(
                proportion(
                    f"{id_}/stopped-{reason}", f"rubbish runs of {label} (noise of {noise:g}) that "
                    f"ended as {reason}", count, len(images), command,
                )
            )  # fmt: skip
    reference = study.images.train.subset(slice(_REFERENCE))
    return rows + mean(
        f"{id_}/likeness",
        f"mean likeness of rubbish images of {label} (noise of {noise:g}) to one of "
        f"{len(reference)} training images (correlation)",
        likeness(images.visible(), reference), study.alone(set_name(subject, noise)),
    )  # fmt: skip


def _shape_option(shape: tuple[int, int]) -> tuple[object, ...]:
    """Return the option for images that are not square."""
    return () if shape[0] == shape[1] else ("--shape", *shape)


def transfer_stage(study: Study) -> Stage:
    """Measure mean confidences of every model on every model's rubbish images."""
    needs = [set_name(s, noise) for noise in study.plan.rubbish_noise for s in study.subjects]
    return Stage(
        "rubbish-transfer", "rubbish transfer (Figs. 3 and 7)", study.alone("rubbish-transfer"),
        partial(_transfer, study), inputs=study.inputs(), needs=(*needs, "confidence"), expected=2,
    )  # fmt: skip


def _transfer(study: Study, place: Place) -> Findings:
    plan = study.plan
    main, *others = plan.rubbish_noise
    known = {row.id: row.value for row in place.before["confidence"].findings.rows}
    betas = [known.get(f"confidence/{s.name}/beta_sm") for s in study.subjects]
    models = {s.label: s.model for s in study.subjects}
    rows: list[Row] = []
    tables: list[Table] = []
    sets = _sets(study, place, main)
    for way, beta_sm in (("3.2", [BETA_SM] * len(betas)), ("own", betas)):
        solved = [beta for beta in beta_sm if beta is not None]
        if len(solved) < len(models):
            continue
        confidences = transfer_confidence(models, sets, solved)
        words = "beta_sm = 3.2" if way == "3.2" else "each model's own beta_sm"
        of_table, table = _table(study, confidences, f"rubbish-transfer/{way}", words, main, way)
        rows += of_table
        tables.append(table)
        if way == "3.2":
            samples = torch.stack([each.images[_spread(len(each))] for each in sets.values()])
            record = figure.TransferMap(confidences, "mean confidence", samples=samples)
            figure.save(record, place.folder / "fig7.png")
    grid_figure.save(rubbish_grid(list(sets.values()), _SHOWN), place.folder / "fig3.png")
    figures = [
        Figure(
            "fig3", "fig3.png", "Rubbish images",
            f"Images to which the objective of each class (columns) leads from noise of deviation "
            f"{main:g} in each model (rows). The paper's Fig. 3.",
        ),
        Figure(
            "fig7", "fig7.png", "Rubbish transfer",
            f"Mean confidence at beta_sm = 3.2 of each model (columns) on {plan.rubbish_per_class} "
            "rubbish images of every class of another (rows). The paper's Fig. 7.",
        ),
    ]  # fmt: skip
    for noise in others:
        side = _sets(study, place, noise)
        confidences = transfer_confidence(models, side, BETA_SM)
        id_, words = f"rubbish-transfer/noise-{noise:g}", f"beta_sm = 3.2, noise of {noise:g}"
        of_table, table = _table(study, confidences, id_, words, noise, "3.2")
        rows += of_table
        tables.append(table)
        file = f"fig3-noise-{noise:g}.png"
        grid_figure.save(rubbish_grid(list(side.values()), _SHOWN), place.folder / file)
        figures.append(
            Figure(
                f"fig3-noise-{noise:g}", file, f"Rubbish images from noise of {noise:g}",
                f"The same from noise of deviation {noise:g}: the paper's N(0, 0.1) can be read "
                "as a variance or as a deviation.",
            )
        )  # fmt: skip
    return Findings(tuple(rows), tuple(tables), tuple(figures))


def _sets(study: Study, place: Place, noise: float) -> dict[str, ImageSet]:
    return {s.label: read_set(place, set_name(s, noise)) for s in study.subjects}


def _spread(count: int) -> torch.Tensor:
    """Return the positions of a few images from different classes."""
    return torch.arange(_SAMPLES) * (count // _SAMPLES)


def _command(study: Study, noise: float, way: str, source: int, victim: int) -> str:
    """Return the command line that repeats one confidence."""
    model, images = study.subjects[victim].source, set_name(study.subjects[source], noise)
    words = ["denseam", "transfer", model, "--confidence", "--beta-sm", way]
    if way == "own":
        words += study.dataset_option
    return shlex.join([*words, "--sets", study.file(images, SET_FILE)])


def _table(
    study: Study, confidences: TransferTable, id_: str, words: str, noise: float, way: str
) -> tuple[list[Row], Table]:
    """Return a row for each confidence, and the table of them."""
    names = [subject.name for subject in study.subjects]
    rows, lines = transferred(
        id_, f"mean confidence of {{victim}} on rubbish images of {{source}}, {words}",
        confidences, names, names, partial(_command, study, noise, way),
    )  # fmt: skip
    return rows, Table(
        id_.replace("/noise", "").replace("/", "-"), f"Rubbish transfer, {words}",
        f"Mean confidence of each model (columns) on rubbish images of another (rows), made from "
        f"noise of deviation {noise:g}. All runs count, also runs that ended on a plateau.",
        ("images of", *confidences.victims), lines,
    )  # fmt: skip

"""Section 4: images on and behind decision boundaries, and the way there (Fig. 4)."""

from dataclasses import replace
from functools import partial

import torch

from denseam.descent import boundary_set, cross_boundary
from denseam.figures import BoundaryTrace
from denseam.figures import boundary as figure
from denseam.figures.records import boundary_traces
from denseam.study.findings import Figure, Findings
from denseam.study.stage import Place, Stage
from denseam.study.stages.common import SET_FILE, part_of, proportion, quartiles
from denseam.study.study import Study
from denseam.study.subjects import Subject

_SHOWN = 3  # images of Fig. 4


def set_name(subject: Subject) -> str:
    """Return the name of the stage that makes a model's boundary images."""
    return f"boundary-{subject.name}"


def set_stages(study: Study) -> list[Stage]:
    """Make an image set per model: the first images behind the boundary to the second choice."""
    count = study.plan.boundary_images
    return [
        Stage(
            set_name(subject), f"{count} boundary images of {subject.label}",
            study.alone(set_name(subject)), partial(_make, study, subject),
            settings={"count": count}, inputs=study.inputs([subject]),
            expected=count / (600 if subject.model.power < 10 else 280),
        )
        for subject in study.subjects
    ]  # fmt: skip


def _make(study: Study, subject: Subject, place: Place) -> Findings:
    count, label = study.plan.boundary_images, subject.label
    images = study.images.test.subset(slice(count))
    path = place.folder / SET_FILE
    crossed = boundary_set(subject.model, images, path, on_progress=place.progress)
    command = study.command("boundary", subject, "--count", count, "--out", "SET.safetensors")
    success = crossed.facts["success"]
    rows = [
        proportion(
            f"boundary/{subject.name}/crossed",
            f"images of {label} that cross the boundary, checked in float64",
            int(success.sum()), len(crossed), command,
        )
    ]  # fmt: skip
    if bool(success.any()):
        what = f"median L2 distance to the boundary, {label}, along the paper's path"
        distances = crossed.facts["boundary_l2"][success]
        row = quartiles(f"boundary/{subject.name}/distance", what, distances, command)
        # As published: of an even number of distances the lower middle one.
        rows.append(replace(row, value=float(distances.double().median())))
    return Findings(tuple(rows), other_files=(SET_FILE,))


def ways_stage(study: Study) -> Stage:
    """Draw Fig. 4: the objectives of the two classes along the way, and triplets of images."""
    return Stage(
        "ways", "ways across boundaries (Fig. 4)", study.alone("ways"), partial(_ways, study),
        settings={"shown": _SHOWN}, inputs=study.inputs(), expected=4 * len(study.subjects),
    )  # fmt: skip


def _ways(study: Study, place: Place) -> Findings:
    images = study.images.test.subset(slice(_SHOWN))
    traces: list[BoundaryTrace] = []
    for i, subject in enumerate(study.subjects):
        model = subject.model
        visible = images.visible(model.memories.dtype)
        crossed = cross_boundary(
            model, visible, samples=range(len(images)),
            on_progress=part_of(place.progress, i, len(study.subjects)),
        )  # fmt: skip
        final = torch.stack([trace.final for trace in crossed.traces])
        traces += boundary_traces(
            crossed, visible, model.predict(final).tolist(), shape=images.shape,
            class_names=images.class_names, name=subject.label, step=0.1,
        )  # fmt: skip
    figure.save(traces, place.folder / "fig4.png")
    return Findings(
        figures=(
            Figure(
                "fig4", "fig4.png", "Across a decision boundary",
                f"Above, log C of the first class and of the second choice along the way of the "
                f"first test image, {study.subjects[0].label}: they cross where Y_top = Y_second. "
                "Below, for each model, the first test images: clean, on the boundary, and where "
                "the descent converges. The paper's Fig. 4.",
            ),
        )
    )  # fmt: skip

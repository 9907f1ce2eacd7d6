"""Memories: what they look like, which classes they vote for, how many decide (Fig. 2, NIPS16)."""

from functools import partial

import torch

from denseam.analysis import MemoryStatistics, live_memories, memory_statistics, pick_memories
from denseam.analysis.memories import FIRM, STRONG
from denseam.figures import memories as figure
from denseam.figures import votes as votes_figure
from denseam.figures.memories import MemoryGrids
from denseam.figures.votes import VoteCurves
from denseam.study.findings import Figure, Findings, Row, Table
from denseam.study.stage import Place, Stage
from denseam.study.stages.common import proportion
from denseam.study.study import Study
from denseam.study.subjects import Subject

_COLUMNS = {
    "one-vote": "vote for one class",
    "one-firm-vote": "vote firmly for one",
    "one-contributor": "images with one strong memory",
    "likeness": "likeness to an image",
    "dead": "never active",
}


def stage(study: Study) -> Stage:
    """Draw random memories, and count what NIPS16 counts."""
    plan = study.plan
    return Stage(
        "memories", "memories (Fig. 2)", study.alone("memories"), partial(_run, study),
        settings={"shown": plan.shown_memories, "reference": plan.reference_images,
                  "seed": plan.seed},
        inputs=study.inputs(train=True), expected=plan.reference_images / 7500, revision=2,
    )  # fmt: skip


def _run(study: Study, place: Place) -> Findings:
    plan, test = study.plan, study.images.test
    reference = study.images.train.subset(slice(plan.reference_images))
    command = study.alone("memories")
    rows: list[Row] = []
    lines, statistics = [], []
    grids: dict[str, torch.Tensor] = {}
    for i, subject in enumerate(study.subjects):
        statistics.append(memory_statistics(subject.model, test, reference))
        of_model = _rows(subject, statistics[-1], command)
        rows += of_model
        known = {row.id for row in of_model}
        cells = [f"memories/{subject.name}/{column}" for column in _COLUMNS]
        lines.append((subject.label, tuple(c if c in known else None for c in cells)))
        live = live_memories(subject.model, test)
        live |= ~live.any()  # where all are dead, show all
        count = min(plan.shown_memories, int(live.sum()))
        if subject.model.picture_shape == test.shape:  # others look at features
            grids[subject.label] = pick_memories(
                subject.model, count, plan.seed, shape=test.shape, among=live
            )[0]
        place.progress(i + 1, len(study.subjects))
    least = min(map(len, grids.values()), default=0)
    names = tuple(subject.label for subject in study.subjects)
    figures = []
    if grids:
        images = torch.stack([grid[:least] for grid in grids.values()])
        figure.save(MemoryGrids((*grids,), images), place.folder / "fig2.png")
        figures.append(Figure(
            "fig2", "fig2.png", "Memories",
            f"{least} memories of each model, drawn at random from those that are active for some "
            "test image, weights from -1 to +1: features at small n, prototypes at large n. The "
            "paper's Fig. 2.",
        ))  # fmt: skip
    if all(each.n_dead < each.n_memories for each in statistics):
        curves = VoteCurves(names, tuple(statistics))
        votes_figure.save(curves, place.folder / "votes.png", firm=True)
        figures.append(
            Figure(
                "votes", "votes.png", "Votes and contributors",
                f"Left, for how many classes a memory votes firmly (component above {FIRM:g}). "
                f"Right, how many memories add more than {STRONG:g} of what the largest one adds "
                "to the predicted class of a test image. After NIPS16.",
            )
        )  # fmt: skip
    return Findings(
        tuple(rows),
        (
            Table(
                "memories", "Memories",
                "A memory votes for the classes whose component is positive, and firmly where it "
                f"is above {FIRM:g}; firm votes are counted without the memories that are never "
                "active. It contributes strongly to an image when it adds more than "
                f"{STRONG:g} of what the largest one "
                f"adds to the predicted class. Likeness is its largest correlation with any of "
                f"{plan.reference_images} training images, the median over memories that are "
                "active for some test image.",
                ("model", *_COLUMNS.values()),
                tuple(lines),
            ),
        ),
        tuple(figures),
    )  # fmt: skip


def _rows(subject: Subject, counts: MemoryStatistics, command: str) -> list[Row]:
    name, label = subject.name, subject.label
    rows = [
        proportion(
            f"memories/{name}/one-vote", f"memories of {label} that vote for exactly one class",
            counts.votes[1], counts.n_memories, command,
        ),
        proportion(
            f"memories/{name}/one-contributor",
            f"test images on which a single memory of {label} contributes strongly",
            counts.one_contributor, counts.n_images, command,
        ),
        proportion(
            f"memories/{name}/dead", f"memories of {label} that are active for no test image",
            counts.n_dead, counts.n_memories, command,
        ),
    ]  # fmt: skip
    alive = counts.n_memories - counts.n_dead
    if alive:
        rows += [
            proportion(
                f"memories/{name}/one-firm-vote",
                f"memories of {label} active for some test image that vote firmly (above "
                f"{FIRM:g}) for exactly one class",
                counts.live_firm_votes[1], alive, command,
            ),
            Row(
                f"memories/{name}/likeness",
                f"median likeness of the memories of {label} to a training image (correlation)",
                counts.prototype_median, command, count=alive,
            ),
        ]  # fmt: skip
    return rows

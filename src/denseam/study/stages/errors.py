"""Section 2: test errors, and what other seeds came to."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from denseam.evaluation import evaluate, wilson_interval
from denseam.study.findings import Findings, Row, Table
from denseam.study.stage import Place, Stage
from denseam.study.stages.common import proportion
from denseam.study.study import Study
from denseam.study.subjects import Subject


def stage(study: Study) -> Stage:
    """Measure the errors of every model on the test images."""
    return Stage(
        "errors", "test errors", study.alone("errors"), partial(_run, study),
        inputs=study.inputs(), expected=3, revision=2,
        settings={s.name: [s.card.get("seeds"), s.card.get("recipe")] for s in study.subjects},
    )  # fmt: skip


def _run(study: Study, place: Place) -> Findings:
    rows: list[Row] = []
    lines = []
    for i, subject in enumerate(study.subjects):
        result = evaluate(subject.model, study.images.test)
        wrong = round(result.error * result.n_images)
        command = study.command("evaluate", subject)
        error = proportion(
            f"errors/{subject.name}", f"test error of {subject.label}", wrong, result.n_images,
            command,
        )  # fmt: skip
        seeds = _seeds(subject)
        mean = _mean(subject, seeds)
        rows += [error, *seeds, *([mean] if mean else [])]
        lines.append((subject.label, (error.id, mean.id if mean else None, _trained(subject))))
        place.progress(i + 1, len(study.subjects))
    table = Table(
        "errors", "Test errors",
        f"{len(study.images.test)} test images of {study.images.name}. Means are over seeds, "
        "with the smallest and the largest; where the others were trained for fewer epochs, or "
        "at another temperature, the commands of the rows say so.",
        ("model", "test error", "mean over seeds", "trained"), tuple(lines),
    )  # fmt: skip
    return Findings(tuple(rows), (table,))


def _seeds(subject: Subject) -> list[Row]:
    """Return the errors of the card's runs, the model's seed and others, after training."""
    return [
        Row(
            f"errors/{subject.name}/seed-{run['seed']}",
            f"test error of {subject.label} after training, seed {run['seed']}, {_epochs(run)}, "
            "before rounding",
            run["error"], run["command"], "%",
            *wilson_interval(round(run["error"] * run["n_images"]), run["n_images"]),
            run["n_images"],
        )
        for run in subject.card.get("seeds", [])
    ]  # fmt: skip


def _epochs(run: Mapping[str, Any]) -> str:
    stopped = f" of a schedule of {run['schedule']}" if "schedule" in run else ""
    return f"{run['epochs']} epochs{stopped}"


def _mean(subject: Subject, seeds: list[Row]) -> Row | None:
    values = [row.value for row in seeds]
    if len(values) < 2:
        return None
    return Row(
        f"errors/{subject.name}/mean",
        f"mean test error of {subject.label} over {len(values)} seeds, with the smallest and the "
        "largest",
        sum(values) / len(values), seeds[0].command, "%", min(values), max(values),
    )  # fmt: skip


def _trained(subject: Subject) -> dict[str, str]:
    recipe = subject.card.get("recipe")
    if not recipe:
        return {"text": "not known"}
    text = f"{recipe['epochs']} epochs, K = {recipe['n_memories']}, T = {recipe['temperature']:g}"
    return {"text": text}

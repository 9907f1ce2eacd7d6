"""Section 6, audited: how much of Fig. 8 is robustness, and how much a hidden gradient."""

from collections.abc import Callable
from functools import partial

from denseam.analysis.audit import Audit, audit
from denseam.analysis.audit.run import STEPS, Attempt
from denseam.study.findings import Findings, Row, Table
from denseam.study.stage import Place, Stage
from denseam.study.stages.common import part_of, proportion
from denseam.study.study import Study
from denseam.study.subjects import Subject

_COLUMNS = {
    "zero": "gradients of C that are zero in float32",
    "objective": "steps on the paper's C leave",
    "scaled": "steps on the scaled log-energy leave",
    "nearest": "minimum norm leaves",
    "search": "random search leaves",
    "all": "all attacks leave",
}


def stage(study: Study) -> Stage:
    """Audit every memory."""
    plan = study.plan
    return Stage(
        "audit", "masking audit (section 6)", study.alone("audit"), partial(_run, study),
        {"count": plan.audit_images, "eps": plan.audit_eps, "queries": plan.audit_queries,
         "seed": plan.seed},
        study.inputs(), expected=len(study.subjects) * plan.audit_images / 8, revision=4,
    )  # fmt: skip


def _run(study: Study, place: Place) -> Findings:
    plan = study.plan
    images = study.images.test.subset(slice(plan.audit_images))
    rows: list[Row] = []
    lines: list[tuple[str, tuple[str | dict[str, str], ...]]] = []
    for i, subject in enumerate(study.subjects):
        tell = part_of(place.progress, i, len(study.subjects))
        result = audit(
            subject.model, images, plan.audit_eps, queries=plan.audit_queries, seed=plan.seed,
            on_progress=partial(_told, tell),
        )  # fmt: skip
        command = study.command(
            "audit", subject, "--count", plan.audit_images, "--eps", f"{plan.audit_eps:g}",
            "--queries", plan.audit_queries, "--seed", plan.seed,
        )  # fmt: skip
        of_model = _rows(subject, result, command)
        rows += of_model
        verdict = "; ".join(result.masked) or "nothing"
        lines.append((subject.label, (*(row.id for row in of_model), {"text": verdict})))
    table = Table(
        "audit", "Masking audit",
        f"Accuracy left on the first {len(images)} test images, each moved by at most Linf "
        f"{plan.audit_eps:g} (visible units), by {STEPS} small steps through a head as anyone "
        "would program them, and by attacks that need no such gradient. Where all attacks together "
        "leave less than a head does, that head hides its gradient. Part of the robustness in "
        "Fig. 8 at large n is a hidden gradient; the accuracy left by all attacks is not.",
        ("model", *_COLUMNS.values(), "heads that hide gradients"), tuple(lines),
    )  # fmt: skip
    return Findings(tuple(rows), (table,))


def _told(tell: Callable[[int, int], None], _doing: str, done: int, total: int) -> None:
    tell(done, total)


def _rows(subject: Subject, result: Audit, command: str) -> list[Row]:
    objective, *_, scaled = result.surfaces
    nearest, search = (_attempt(result, word) for word in ("minimum norm", "random search"))
    right = objective.start.count
    zero = proportion(
        f"audit/{subject.name}/zero",
        f"gradients of the paper's objective at clean images that are zero in float32, "
        f"{subject.label}",
        round(objective.only_float32 * right), right, command,
    )  # fmt: skip
    attempts = {
        "objective": objective.iterative, "scaled": scaled.iterative, "nearest": nearest,
        "search": search, "all": result.headline,
    }  # fmt: skip
    return [
        zero,
        *(
            proportion(
                f"audit/{subject.name}/{name}",
                f"accuracy of {subject.label} at Linf {result.eps:g}: {_COLUMNS[name]} it",
                round(attempt.accuracy * result.count), result.count, command,
            )
            for name, attempt in attempts.items()
        ),
    ]  # fmt: skip


def _attempt(result: Audit, word: str) -> Attempt:
    return next(each for each in result.others if each.name.startswith(word))

"""End of section 5: a memory of large n guards a more accurate, vulnerable model."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from denseam.evaluation import predict_images
from denseam.guard import Guard
from denseam.study.findings import Findings, Row, Table
from denseam.study.stage import Place, Stage
from denseam.study.stages import boundary, rubbish
from denseam.study.stages.common import proportion, read_set
from denseam.study.study import Study
from denseam.study.subjects import Subject

# The paper's own quantity, and the guard's default.
_SCORES = {"confidence": "the paper's Z", "profile": "the guard's profile"}
_WHAT = {"rejected": "set aside", "noticed": "set aside or marked"}
_REJECTION = 0.01  # of clean images, as a guard promises
_LEAST = 20  # test images: fewer allow no useful promise
_VULNERABLE = 2  # number of memories of small n that are guarded


@dataclass(frozen=True)
class _Case:
    """Images that a pair of models is tried on."""

    name: str
    what: str  # in words
    visible: Tensor  # (M, N) in [-1, 1]
    behind: Subject  # the model that the memory of large n guards


def stages(study: Study) -> list[Stage]:
    """Try the pair on rubbish and boundary images; not with one memory, or too few images."""
    if len(study.subjects) < 2 or len(study.images.test) < _LEAST:
        return []
    plan = study.plan
    needs = [rubbish.set_name(s, plan.rubbish_noise[0]) for s in study.subjects]
    needs += [boundary.set_name(s) for s in study.subjects]
    return [
        Stage(
            "guard", "a guard of large n (section 5)", study.alone("guard"), partial(_run, study),
            {"rejection": _REJECTION, "scores": list(_SCORES), "seed": plan.seed},
            study.inputs(), needs=tuple(needs), expected=2 + plan.boundary_images / 1500,
            revision=2,
        )
    ]  # fmt: skip


def _run(study: Study, place: Place) -> Findings:
    test, seed, detector = study.images.test, study.plan.seed, study.subjects[-1]
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(seed))
    calibration, others = order.chunk(2)
    rate = max(_REJECTION, 2 / len(calibration))  # the least that so many images can promise
    cases = _cases(study, place, others[others < study.plan.boundary_images])
    rows: list[Row] = []
    for i, (score, words) in enumerate(_SCORES.items()):
        guards = {
            s.name: Guard(
                detector.model, s.model, score=score, image_shape=test.shape
            ).calibrate(test.subset(calibration), rate, seed=seed)
            for s in _vulnerable(study)
        }  # fmt: skip
        for k, case in enumerate(cases):
            pair = f"{detector.label} guards {case.behind.label}"
            where = f"{pair} by {words}, {100 * rate:.3g} % promised"
            rows += _rows(case, score, guards[case.behind.name], where, study.alone("guard"))
            place.progress(i * len(cases) + k + 1, len(_SCORES) * len(cases))
    caption = (
        f"The paper's pair: images of which {detector.label} is not confident are set aside as "
        "junk, the guarded model labels the others, and those on which the two disagree are "
        f"marked. Thresholds set aside {100 * rate:.3g} % of {len(calibration)} clean test images; "
        "the images here are made from the others. Only boundary images that fool the guarded "
        "model count. No attacker here knows the guard."
    )
    return Findings(tuple(rows), (_table(cases, caption),))


def _vulnerable(study: Study) -> tuple[Subject, ...]:
    """Return the models that the memory of largest n guards."""
    return study.subjects[:-1][:_VULNERABLE]


def _table(cases: list[_Case], caption: str) -> Table:
    return Table(
        "guard", "A guard of large n", caption,
        ("images", *(f"{words}: {what}" for words in _SCORES.values() for what in _WHAT.values())),
        tuple(
            (case.what, tuple(_id(case, score, what) for score in _SCORES for what in _WHAT))
            for case in cases
        ),
    )  # fmt: skip


def _id(case: _Case, score: str, what: str) -> str:
    return f"guard/{score}/{case.name}/{what}"


def _cases(study: Study, place: Place, rows: Tensor) -> list[_Case]:
    """Return clean images, rubbish, and boundary images that fool the guarded model."""
    first, *_ = vulnerable = _vulnerable(study)
    cases = [_Case("clean", "clean images", study.images.test.subset(rows).visible(), first)]
    for s in study.subjects:
        junk = read_set(place, rubbish.set_name(s, study.plan.rubbish_noise[0]))
        cases.append(
            _Case(f"rubbish-{s.name}", f"rubbish images of {s.label}", junk.visible(), first)
        )
    for s in study.subjects:
        led = read_set(place, boundary.set_name(s)).subset(rows)
        for behind in vulnerable:
            fooled = predict_images(behind.model, led).cpu() != led.labels
            what = f"boundary images of {s.label} that fool {behind.label}"
            name = f"boundary-{s.name}-{behind.name}"
            cases.append(_Case(name, what, led.visible()[fooled], behind))
    return [case for case in cases if len(case.visible)]


def _rows(case: _Case, score: str, guard: Guard, where: str, command: str) -> list[Row]:
    """Count rejected images, and noticed ones: rejected, or the two models disagree."""
    verdicts, total = guard.predict(case.visible), len(case.visible)
    marked = verdicts.reason_counts().get("disagree", 0)
    counts = {"rejected": verdicts.n_rejected, "noticed": verdicts.n_rejected + marked}
    return [
        proportion(
            _id(case, score, what), f"{case.what} {words}: {where}", counts[what], total, command
        )
        for what, words in _WHAT.items()
    ]

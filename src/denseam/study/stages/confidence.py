"""Section 5.1: each model's own beta_sm, and error against confidence (Fig. 6)."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from torch import Tensor

from denseam.analysis import (
    BETA_SM,
    ConfidenceBins,
    compare_calibration,
    confidence_bins,
    confidence_of,
    solve_beta,
)
from denseam.descent.facts import outputs
from denseam.errors import InputError
from denseam.figures import confidence as figure
from denseam.figures.confidence import ConfidenceCurves
from denseam.study.findings import Figure, Findings, Row, Table
from denseam.study.stage import Place, Stage
from denseam.study.stages.common import mean, proportion
from denseam.study.study import Study
from denseam.study.subjects import Subject

_CHUNK = 1000
Cells = tuple[str | None, ...]  # ids of rows, or nothing
_WAYS = {
    "paper": "beta_sm",
    "activity": "Y by NLL",
    "log_energy": "log-energy by NLL",
    "energy_gap": "energy gap by NLL",
}


def stage(study: Study) -> Stage:
    """Find beta_sm of every model, errors by confidence, and other ways to calibrate."""
    return Stage(
        "confidence", "confidence (Fig. 6)", study.alone("confidence"), partial(_run, study),
        {"seed": study.plan.seed}, study.inputs(), expected=1.5 * len(study.subjects),
    )  # fmt: skip


def _run(study: Study, place: Place) -> Findings:
    test, command = study.images.test, study.alone("confidence")
    rows: list[Row] = []
    lines, ways = [], []
    curves: dict[str, ConfidenceBins] = {}
    for i, subject in enumerate(study.subjects):
        visible = test.visible(subject.model.memories.dtype)
        predicted, activity = outputs(subject.model, visible, _CHUNK)
        wrong = predicted != test.labels
        beta = _own_beta(activity, wrong)
        of_model = [
            *([] if beta is None else [Row(
                f"confidence/{subject.name}/beta_sm", f"beta_sm of {subject.label} at which mean "
                "confidence is accuracy", beta, command, count=len(test))]),
            *mean(f"confidence/{subject.name}/mean-3.2", f"mean confidence of {subject.label} at "
                  "beta_sm = 3.2", confidence_of(activity), command, "%"),
        ]  # fmt: skip
        for way, value in (("3.2", BETA_SM), ("own", beta)):
            if value is None:
                continue
            bins = confidence_bins(confidence_of(activity, value), wrong)
            of_model.append(_calibration_error(subject, way, bins, command))
            of_model += _bin_rows(subject, way, bins, command)
            if way == "own":
                curves[subject.label] = bins
        compared, line = _compared(study, subject, command)
        ways.append((subject.label, line))
        rows += [*of_model, *compared]
        known = {row.id for row in of_model}
        cells = [f"confidence/{subject.name}/{what}"
                 for what in ("beta_sm", "mean-3.2", "ece-3.2", "ece-own")]  # fmt: skip
        lines.append((subject.label, tuple(cell if cell in known else None for cell in cells)))
        place.progress(i + 1, len(study.subjects))
    if not curves:
        return Findings(tuple(rows), _tables(lines, ways))
    figure.save(ConfidenceCurves(tuple(curves), tuple(curves.values())), place.folder / "fig6.png")
    return Findings(tuple(rows), _tables(lines, ways), (
        Figure("fig6", "fig6.png", "Error against confidence",
               f"Error of the test images in a bin of confidence, at each model's own beta_sm. "
               f"{len(test)} test images, ten bins. The paper's Fig. 6."),
    ))  # fmt: skip


def _own_beta(activity: Tensor, wrong: Tensor) -> float | None:
    """Return the beta_sm of section 5.1, from Y (M, C) and (M,) bool.

    None where no finite one exists: for a model that is never wrong, or no better than chance.
    """
    try:
        return solve_beta(activity, 1 - float(wrong.double().mean()))
    except InputError:
        return None


def _calibration_error(subject: Subject, way: str, bins: ConfidenceBins, command: str) -> Row:
    words = "beta_sm = 3.2" if way == "3.2" else "its own beta_sm"
    return Row(
        f"confidence/{subject.name}/ece-{way}",
        f"expected calibration error of {subject.label} in ten bins, {words}",
        bins.expected_calibration_error, command, "%", count=sum(bins.counts),
    )  # fmt: skip


def _bin_rows(subject: Subject, way: str, bins: ConfidenceBins, command: str) -> list[Row]:
    """Return errors of the bins with images, and of the two ends of the scale."""
    words = f"{subject.label}, " + ("beta_sm = 3.2" if way == "3.2" else "its own beta_sm")
    failed = [round(e * n) if n else 0 for e, n in zip(bins.errors, bins.counts, strict=True)]
    spans = {
        f"{low:.1f}": (f"between {low:.1f} and {high:.1f}", [j])
        for j, (low, high) in enumerate(pairwise(bins.edges))
    } | {"unsure": ("below 0.5", list(range(5))), "sure": ("of 0.9 and more", [9])}
    return [
        proportion(
            f"confidence/{subject.name}/{way}/{name}",
            f"error at a confidence {span}, {words}",
            sum(failed[j] for j in places), sum(bins.counts[j] for j in places), command,
        )
        for name, (span, places) in spans.items()
        if sum(bins.counts[j] for j in places)
    ]  # fmt: skip


def _compared(study: Study, subject: Subject, command: str) -> tuple[list[Row], Cells]:
    """Fit four kinds of confidence to half of the test images, measure them on the other half."""
    try:
        result = compare_calibration(subject.model, study.images.test, study.plan.seed)
    except InputError:  # no finite beta_sm, as above
        return [], (None,) * (2 * len(_WAYS))
    rows, shown = [], []
    for way, words in _WAYS.items():
        measured = result.ways()[way]
        id_, of = f"calibration/{subject.name}/{way}", f"{subject.label}, {words}"
        rows += [
            Row(f"{id_}/parameter", f"parameter of {of}", measured.parameter, command,
                count=result.n_fitted),
            Row(f"{id_}/ece", f"expected calibration error of {of}, on the other half",
                measured.expected_calibration_error, command, "%", count=measured.n_images),
            Row(f"{id_}/nll", f"negative log-likelihood of {of}, nats, on the other half",
                measured.nll, command, count=measured.n_images),
        ]  # fmt: skip
        shown += [f"{id_}/ece", f"{id_}/nll"]
    return rows, tuple(shown)


def _tables(
    lines: Sequence[tuple[str, Cells]], ways: Sequence[tuple[str, Cells]]
) -> tuple[Table, ...]:
    return (
        Table(
            "confidence", "Confidence",
            "beta_sm at which mean confidence is accuracy on the test images, and expected "
            "calibration errors (ECE) in ten bins.",
            ("model", "own beta_sm", "mean confidence at 3.2", "ECE at 3.2", "ECE at its own"),
            tuple(lines),
        ),
        Table(
            "calibration", "Ways to calibrate",
            "Expected calibration error and negative log-likelihood (NLL, nats), fitted on one "
            "half of the test images and measured on the other. The first is the paper's; the "
            "others are ordinary temperature scaling (Guo et al. 2017), by least NLL.",
            ("model", *(f"{words}: {what}" for words in _WAYS.values() for what in ("ECE", "NLL"))),
            tuple(ways),
        ),
    )  # fmt: skip

"""From image sets and descents to the records that figures are drawn from. No model is needed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from denseam.analysis import BETA_SM, confidence_of
from denseam.data import ImageSet
from denseam.descent import BoundaryResult
from denseam.descent.facts import reached
from denseam.errors import InputError
from denseam.evaluation import wilson_interval
from denseam.figures.boundary import BoundaryTrace
from denseam.figures.budget import BudgetCurves
from denseam.figures.rubbish import RubbishGrid
from denseam.figures.sign import SignCurves

__all__ = ["boundary_traces", "budget_curves", "model_name", "rubbish_grid", "sign_curves"]


def model_name(images: ImageSet) -> str:
    """What to call the model that a generated set came from, such as "n = 30"."""
    model = images.metadata.get("model", {})
    if "network" in model or "power" not in model:
        return str(model.get("network", model.get("type", images.name)))
    return f"n = {model['power']:g}"


def rubbish_grid(sets: Sequence[ImageSet], rows: int = 1) -> RubbishGrid:
    """Fig. 3: the first ``rows`` images of every class, set by set.

    Raises:
        InputError: when the sets differ in their classes, or hold too few images.
    """
    columns = sets[0].class_names
    names, images, missing = [], [], []
    for each in sets:
        arrived = reached(each)
        shown = sorted(set(each.labels.tolist()))
        if each.class_names != columns or shown != sorted(set(sets[0].labels.tolist())):
            raise InputError(f"{each.name}: wanted the same classes as in {sets[0].name}")
        of_class = [(each.labels == c).nonzero().flatten() for c in shown]
        if min(map(len, of_class)) < rows:
            raise InputError(f"{each.name}: wanted {rows} images of every class")
        for i in range(rows):
            chosen = torch.stack([rows_of[i] for rows_of in of_class])
            names.append(model_name(each) + (f" ({i + 1})" if rows > 1 else ""))
            images.append(each.images[chosen])
            missing.append(~arrived[chosen])
    shown_names = tuple(columns[c] for c in sorted(set(sets[0].labels.tolist())))
    return RubbishGrid(tuple(names), shown_names, torch.stack(images), torch.stack(missing))


def boundary_traces(
    found: BoundaryResult,
    clean: Tensor,  # (B, N)
    final_labels: Sequence[int],  # of each trace's final image
    *,
    shape: tuple[int, int],
    class_names: Sequence[str],
    name: str,
    step: float,
) -> tuple[BoundaryTrace, ...]:
    """Fig. 4: one record for each trace of a descent."""
    return tuple(
        BoundaryTrace(
            name,
            tuple(trace.log_top.tolist()),
            tuple(trace.log_target.tolist()),
            trace.crossing,
            step,
            torch.stack(
                [x.double().reshape(shape).cpu() for x in
                 (clean[trace.sample], found.boundary[trace.sample], trace.final)]
            ),
            (
                class_names[trace.top],
                f"{class_names[trace.top]} / {class_names[trace.target]}",
                class_names[label],
            ),
        )
        for trace, label in zip(found.traces, final_labels, strict=True)
    )  # fmt: skip


def sign_curves(sets: Sequence[ImageSet], beta_sm: float = BETA_SM) -> SignCurves:
    """Fig. 8: error, its interval and the mean confidence on errors, for every size in the sets.

    Raises:
        InputError: when a set is not one of the sign family, or the sets differ in their sizes.
    """
    eps = tuple(torch.unique(_need(sets[0], "eps")).tolist())
    errors, intervals, confidences, counts = [], [], [], set()
    for each in sets:
        if tuple(torch.unique(_need(each, "eps")).tolist()) != eps:
            raise InputError(f"{each.name}: wanted the same sizes as in {sets[0].name}, {eps}")
        wrong = each.facts["predicted"] != each.labels
        sure = confidence_of(each.facts["scores"].double(), beta_sm)
        for size in eps:
            here = each.facts["eps"] == size
            failed, count = int((wrong & here).sum()), int(here.sum())
            counts.add(count)
            errors.append(failed / count)
            intervals.append(wilson_interval(failed, count))
            confidences.append(float(sure[wrong & here].mean()))  # NaN where there are none
    if len(counts) > 1:
        raise InputError(f"sets of {sorted(counts)} images: wanted as many in all, at every size")
    R, E = len(sets), len(eps)
    return SignCurves(
        tuple(model_name(each) for each in sets),
        eps,
        torch.tensor(errors).reshape(R, E),
        torch.tensor(intervals).reshape(R, E, 2),
        torch.tensor(confidences).reshape(R, E),
        counts.pop(),
    )


def _need(images: ImageSet, fact: str) -> Tensor:
    if fact not in images.facts:
        made = images.metadata.get("made_by", "other")
        raise InputError(f"{images.name}: no fact {fact!r} in this set of {made} images")
    return images.facts[fact]


def budget_curves(sets: Sequence[ImageSet]) -> BudgetCurves:
    """Accuracy against distance, of sets made by ``minimum_set`` in one norm.

    Raises:
        InputError: for sets of another kind, or of several norms.
    """
    norms = {each.metadata.get("parameters", {}).get("norm") for each in sets}
    made = {each.metadata.get("parameters", {}).get("method") for each in sets}
    if made != {"minimum"} or len(norms) != 1:
        raise InputError("wanted sets made by `denseam attack --method minimum` in one norm")
    (norm,) = norms
    distances = [
        torch.where(each.facts["success"], each.facts[norm].double() / 2, torch.inf)
        for each in sets
    ]
    return BudgetCurves(tuple(map(model_name, sets)), tuple(distances), norm)

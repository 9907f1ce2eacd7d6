"""From image sets and descents to the records that figures are drawn from. No model is needed."""

from collections.abc import Iterable, Sequence

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


def model_name(images: ImageSet) -> str:
    """Return the name of the model that a generated set came from, such as "n = 30"."""
    model = images.metadata.get("model", {})
    if "network" in model or "power" not in model:
        return str(model.get("network", model.get("type", images.name)))
    return f"n = {model['power']:g}"


def rubbish_grid(sets: Sequence[ImageSet], rows: int = 1) -> RubbishGrid:
    """Return Fig. 3's record: the first ``rows`` images of every class, set by set.

    Raises:
        InputError: when the sets differ in their classes, or hold too few images.
    """
    class_names, classes = sets[0].class_names, sorted(set(sets[0].labels.tolist()))
    names, images, missing = [], [], []
    for each in sets:
        if each.class_names != class_names or sorted(set(each.labels.tolist())) != classes:
            raise InputError(f"{each.name}: wanted the same classes as in {sets[0].name}")
        arrived = reached(each)
        of_class = [(each.labels == c).nonzero().flatten() for c in classes]
        if min(map(len, of_class)) < rows:
            raise InputError(f"{each.name}: wanted {rows} images of every class")
        for i in range(rows):
            shown = torch.stack([positions[i] for positions in of_class])
            names.append(model_name(each) + (f" ({i + 1})" if rows > 1 else ""))
            images.append(each.images[shown])
            missing.append(~arrived[shown])
    columns = tuple(class_names[c] for c in classes)
    return RubbishGrid(tuple(names), columns, torch.stack(images), torch.stack(missing))


def boundary_traces(
    crossed: BoundaryResult,
    clean: Tensor,  # (B, N)
    final_labels: Sequence[int],  # of each trace's final image
    *,
    shape: tuple[int, int],
    class_names: Sequence[str],
    name: str,
    step: float,
) -> tuple[BoundaryTrace, ...]:
    """Return Fig. 4's records, one for each trace of a descent."""
    return tuple(
        BoundaryTrace(
            name,
            tuple(trace.log_top.tolist()),
            tuple(trace.log_target.tolist()),
            trace.crossing,
            step,
            torch.stack(
                [x.double().reshape(shape).cpu() for x in
                 (clean[trace.sample], crossed.boundary[trace.sample], trace.final)]
            ),
            (
                class_names[trace.top],
                f"{class_names[trace.top]} / {class_names[trace.target]}",
                class_names[label],
            ),
        )
        for trace, label in zip(crossed.traces, final_labels, strict=True)
    )  # fmt: skip


def sign_curves(sets: Sequence[ImageSet], beta_sm: float = BETA_SM) -> SignCurves:
    """Return Fig. 8's record of image sets: errors and confidences on them, by set and size.

    Raises:
        InputError: when a set is not one of the sign family, or the sets differ in their sizes.
    """
    eps = _sizes(sets[0])
    outcomes, counts = [], set()
    for each in sets:
        if _sizes(each) != eps:
            raise InputError(f"{each.name}: wanted the same sizes as in {sets[0].name}, {eps}")
        wrong = each.facts["predicted"] != each.labels
        sure = confidence_of(each.facts["scores"].double(), beta_sm)
        of_size = [each.facts["eps"] == size for size in eps]
        outcomes.append(([wrong[rows] for rows in of_size], [sure[rows] for rows in of_size]))
        counts |= {int(rows.sum()) for rows in of_size}
    if len(counts) > 1:
        raise InputError(f"sets of {sorted(counts)} images: wanted the same number at every size")
    return sign_record(list(map(model_name, sets)), eps, outcomes)


def sign_record(
    names: Sequence[str],
    eps: Sequence[float],
    outcomes: Sequence[tuple[Iterable[Tensor], Iterable[Tensor]]],
) -> SignCurves:
    """Return Fig. 8's record of models.

    Args:
        names: of R models.
        eps: E sizes.
        outcomes: for each model E tensors (M,) bool, wrong labels, and E tensors (M,), confidences.
    """
    errors, confidences, count = [], [], 1
    for wrong, sure in outcomes:
        pairs = list(zip(wrong, sure, strict=True))
        count = len(pairs[0][0])
        errors.append([int(bad.sum()) for bad, _ in pairs])
        confidences.append([float(z[bad].mean()) for bad, z in pairs])  # NaN without errors
    intervals = [[wilson_interval(failed, count) for failed in row] for row in errors]
    return SignCurves(
        tuple(names), tuple(eps), torch.tensor(errors) / count, torch.tensor(intervals),
        torch.tensor(confidences), count,
    )  # fmt: skip


def _sizes(images: ImageSet) -> tuple[float, ...]:
    if "eps" not in images.facts:
        maker = images.metadata.get("made_by", "other")
        raise InputError(f"{images.name}: no fact 'eps' in this set of {maker} images")
    return tuple(torch.unique(images.facts["eps"]).tolist())


def budget_curves(sets: Sequence[ImageSet]) -> BudgetCurves:
    """Return the record of accuracy against distance, of attacks without a size, in one norm.

    Raises:
        InputError: for sets of another kind, or of several norms.
    """
    if any(each.metadata.get("made_by") != "attack" or "eps" in each.facts for each in sets):
        raise InputError("wanted sets of nearest images, as `denseam attack --method minimum`")
    norms = {each.metadata["parameters"].get("norm", "l2") for each in sets}
    if len(norms) != 1:
        raise InputError(f"sets of norms {sorted(norms)}: wanted one norm")
    (norm,) = norms
    distances = [
        torch.where(each.facts["success"], each.facts[norm].double() / 2, torch.inf)
        for each in sets
    ]
    return BudgetCurves(tuple(map(model_name, sets)), tuple(distances), norm)

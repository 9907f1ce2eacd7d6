"""Image sets made by descents, with all that is known of every image (see ``facts``).

They are made chunk by chunk, and an interruption costs at most one chunk (see ``resuming``).
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from denseam.checks import choice, numbers, seed_of, whole
from denseam.classifier import Classifier
from denseam.data import ImageSet
from denseam.descent.attacks import ATTACKS
from denseam.descent.batch import Batch, Progress
from denseam.descent.boundary import Target, cross_boundary, targets_of
from denseam.descent.facts import describe, facts_of, inputs, outputs
from denseam.descent.result import Descended, DescentResult, Stop, code
from denseam.descent.resuming import build
from denseam.descent.rubbish import check_classes, rubbish
from denseam.errors import InputError
from denseam.heads import Norm

Keep = Literal["before", "boundary", "final"]


def boundary_set(
    model: nn.Module,
    images: ImageSet,
    out: str | Path | None = None,
    target: Target | Literal["each"] = "second",
    *,
    keep: Sequence[Keep] = (),
    input_shape: Sequence[int] | None = None,
    seed: int = 0,
    chunk: int = 1000,
    on_progress: Progress | None = None,
    shared: bool = False,
    **options: Any,
) -> ImageSet:
    """Make a set of the first images behind the boundary, labelled rightly, as their sources are.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        images: where to start.
        out: file to write, ``.safetensors`` or ``.npz``. Every chunk is on the disk before the
            next begins, and the same call goes on where the last one was stopped.
        target: as for ``cross_boundary``, or "each": every other class in turn.
        keep: further images (M, H, W) to keep as facts: the last ones "before" the boundary, those
            on the "boundary" (float64), and the "final" ones, converged.
        input_shape: of one image as the module takes it; (N,) by default.
        seed: of random targets.
        chunk: images at once.
        on_progress: called with the number of images done and of all.
        shared: other processes make the same call, and all of them share the chunks.
        **options: of ``cross_boundary``: step, norm, objective, mode, max_steps, loss_power.

    Raises:
        InputError: as ``cross_boundary``, and for unknown words in ``keep``.
        RunFolderError: when ``out`` is there and was made otherwise.

    >>> import denseam
    >>> test = denseam.data.load("mnist").test.subset(slice(5))
    >>> crossed = denseam.descent.boundary_set(denseam.load_pretrained("mnist-n30"), test)
    >>> crossed.facts["success"].tolist(), bool((crossed.labels == test.labels).all())
    ([True, True, True, True, True], True)
    """
    kept = sorted(choice("keep", name, get_args(Keep)) for name in keep)
    chunk, seed = whole("chunk", chunk), seed_of(seed)
    visible, exact = inputs(model, images, input_shape), copy.deepcopy(model).double()
    rows, targets = _rows_and_targets(model, visible, target, seed=seed, chunk=chunk)
    recorded = target.tolist() if isinstance(target, Tensor) else target
    asked = {**options, "target": recorded, "seed": seed, "keep": kept}
    metadata = describe("boundary", model, images, cross_boundary, asked)

    def make(cut: slice, progress: Progress) -> ImageSet:
        crossed = cross_boundary(
            model, visible[rows[cut]], targets if isinstance(targets, str) else targets[cut],
            exact=exact, chunk=chunk, converge="final" in kept, on_progress=progress, **options,
        )  # fmt: skip
        facts = facts_of(model, crossed, rows[cut], chunk) | {
            "margin": crossed.margin,
            "boundary_l2": crossed.boundary_distances.l2,
            "boundary_linf": crossed.boundary_distances.linf,
            **{name: getattr(crossed, name).reshape(-1, *images.input_shape) for name in kept},
        }
        return _set_of(crossed, images.labels[rows[cut].cpu()], images, facts, metadata)

    return build(make, _cuts(len(rows), chunk), out, metadata, on_progress, shared=shared)


def rubbish_set(
    model: nn.Module,
    classes: Sequence[int] | None = None,
    out: str | Path | None = None,
    *,
    shape: tuple[int, int],
    class_names: Sequence[str] = (),
    per_class: int = 1,
    input_shape: Sequence[int] | None = None,
    chunk: int = 100,
    on_progress: Progress | None = None,
    shared: bool = False,
    **options: Any,
) -> ImageSet:
    """Make a set of rubbish images of every class, labelled as the class they were made for.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        classes: all by default.
        out: file to write; see ``boundary_set``. A chunk holds whole classes.
        shape: (H, W) of an image, H W = N.
        class_names: C names; numbers by default.
        per_class: images of each class.
        input_shape: of one image as the module takes it; (N,) by default.
        chunk: images at once.
        on_progress: called with the number of images done and of all.
        shared: other processes make the same call, and all of them share the chunks.
        **options: of ``rubbish``: noise, step, max_steps, loss_power, seed.

    Raises:
        InputError: as ``rubbish``.
        RunFolderError: when ``out`` is there and was made otherwise.

    >>> import denseam
    >>> model = denseam.load_pretrained("mnist-n30")
    >>> made = denseam.descent.rubbish_set(model, [3, 8], shape=(28, 28), max_steps=5)
    >>> made.labels.tolist(), made.shape
    ([3, 8], (28, 28))
    """
    height, width = (whole("shape", side) for side in shape)
    chunk, per_class = whole("chunk", chunk), whole("per_class", per_class)
    taken = tuple(input_shape or (height * width,))
    if isinstance(model, Classifier) and taken != (model.n_inputs,):
        raise InputError(f"shape = {shape}: the model's images have {model.n_inputs} pixels")
    weight, blank = next(model.parameters(), None), torch.zeros(1, *taken)
    n_classes = outputs(model, blank if weight is None else blank.to(weight), 1)[1].shape[1]
    chosen, names = check_classes(classes, n_classes), tuple(class_names)
    asked = {**options, "classes": chosen, "per_class": per_class}
    metadata = describe("rubbish", model, None, rubbish, asked)
    metadata |= {"shape": [height, width], "class_names": list(names)}

    def make(cut: slice, progress: Progress) -> ImageSet:
        result = rubbish(
            model, chosen[cut.start // per_class : cut.stop // per_class], per_class=per_class,
            shape=taken, chunk=chunk, on_progress=progress, **options,
        )  # fmt: skip
        facts = facts_of(model, result, torch.arange(len(result)) % per_class, chunk)
        blanks = torch.zeros(len(result), height, width)
        like = ImageSet(blanks, result.targets.cpu(), n_classes, names)
        return _set_of(result, like.labels, like, facts, metadata)

    cuts = _cuts(len(chosen) * per_class, max(1, chunk // per_class) * per_class)
    return build(make, cuts, out, metadata, on_progress, shared=shared)


def attack_set(
    model: nn.Module,
    images: ImageSet,
    method: str,
    eps: float | Sequence[float] | None = None,
    out: str | Path | None = None,
    *,
    input_shape: Sequence[int] | None = None,
    chunk: int = 1000,
    on_progress: Progress | None = None,
    shared: bool = False,
    **options: Any,
) -> ImageSet:
    """Make a set of attacked images with the right labels, one size after the other.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        images: where to start, with the right labels.
        method: a row of ``ATTACKS``: "fgsm", "bim", "llc", "minimum" or "square".
        eps: Linf size in visible units, or several; fact ``eps``. 0 keeps the images as they are.
            None for an attack without a size.
        out: file to write; see ``boundary_set``.
        input_shape: of one image as the module takes it; (N,) by default.
        chunk: images at once.
        on_progress: called with the number of images done and of all.
        shared: other processes make the same call, and all of them share the chunks.
        **options: of the attack's function.

    Raises:
        InputError: as the attack, and for an unknown one.
        RunFolderError: when ``out`` is there and was made otherwise.

    >>> import denseam
    >>> test = denseam.data.load("mnist").test.subset(slice(20))
    >>> model = denseam.load_pretrained("mnist-n2")
    >>> attacked = denseam.descent.attack_set(model, test, "bim", [0, 0.3], steps=4)
    >>> wrong = attacked.facts["predicted"] != attacked.labels
    >>> [int(wrong[attacked.facts["eps"] == size].sum()) for size in (0, 0.3)]
    [0, 20]
    """
    attack = ATTACKS[choice("method", method, ATTACKS)]
    chunk, count = whole("chunk", chunk), len(images)
    asked: dict[str, Any] = {**options, "method": method}
    sizes: Sequence[float | None] = [None]
    if "eps" in attack.parameters:
        sizes = asked["eps"] = numbers("eps", eps, least=0, unit="visible units")
    elif eps is not None:
        raise InputError(f"eps = {eps!r}: {method} has no size")
    visible = inputs(model, images, input_shape)
    exact = copy.deepcopy(model).double() if "exact" in attack.parameters else None
    metadata = describe("attack", model, images, attack.function, asked)

    def make(cut: slice, progress: Progress) -> ImageSet:
        size, first = sizes[cut.start // count], cut.start % count
        rows = slice(first, first + cut.stop - cut.start)
        labels = images.labels[rows].to(visible.device)
        if size == 0:
            result = _unmoved(model, visible[rows], labels, chunk)
        else:
            random = {"seed": metadata["parameters"].get("seed", 0) + first}
            more = attack.taken(
                eps=size, exact=exact, shape=images.input_shape, chunk=chunk, on_progress=progress,
                **random,
            )  # fmt: skip
            result = attack.function(
                model, visible[rows], labels, **{**attack.usual, **options, **more}
            )
        facts = facts_of(model, result, torch.arange(rows.start, rows.stop), chunk)
        if size is not None:
            facts["eps"] = torch.full((len(result),), size, dtype=torch.float64)
        return _set_of(result, labels, images, facts, metadata)

    cuts = _cuts(count, chunk)
    shifts = [i * count for i in range(len(sizes))]
    all_cuts = [slice(cut.start + shift, cut.stop + shift) for shift in shifts for cut in cuts]
    return build(make, all_cuts, out, metadata, on_progress, shared=shared)


def minimum_set(
    model: nn.Module,
    images: ImageSet,
    out: str | Path | None = None,
    *,
    norm: Norm = "l2",
    chunk: int = 500,
    **options: Any,
) -> ImageSet:
    """Make a set of the nearest images that are labelled otherwise: ``attack_set`` of "minimum".

    Args:
        model: as for ``attack_set``.
        images: as for ``attack_set``.
        out: as for ``attack_set``.
        norm: the norm of the distance, "l2" or "linf".
        chunk: images at once.
        **options: of ``minimum_norm`` (rounds, starts), and the others of ``attack_set``.

    Raises:
        InputError: as ``minimum_norm``.
        RunFolderError: when ``out`` is there and was made otherwise.

    >>> import denseam
    >>> test = denseam.data.load("mnist").test.subset(slice(5))
    >>> nearest = denseam.descent.minimum_set(denseam.load_pretrained("mnist-n2"), test, rounds=2)
    >>> bool((nearest.facts["predicted"] != nearest.labels).all())
    True
    """
    return attack_set(model, images, "minimum", None, out, norm=norm, chunk=chunk, **options)


def _set_of(
    result: DescentResult,
    labels: Tensor,
    like: ImageSet,
    facts: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
) -> ImageSet:
    """Return a chunk's result as a set, with the classes and the shape of ``like``."""
    return ImageSet(
        result.images.detach().reshape(-1, *like.input_shape).cpu(), labels.cpu(), like.n_classes,
        like.class_names, f"{metadata['made_by']} images", metadata,
        {name: values.cpu() for name, values in facts.items()},
    )  # fmt: skip


def _cuts(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _rows_and_targets(
    model: nn.Module, visible: Tensor, target: Target | Literal["each"], *, seed: int, chunk: int
) -> tuple[Tensor, Tensor | Literal["second", "least"]]:
    """Return which images to start from (R,), and where to lead each, whatever the chunks."""
    rows = torch.arange(len(visible), device=visible.device)
    if isinstance(target, str) and target in ("second", "least"):
        return rows, target  # the same in any chunk: no need to score all images first
    scores = Batch(model, visible, log_energy=False, chunk=chunk).scores
    if not isinstance(target, str) or target != "each":
        return rows, targets_of(target, scores, seed=seed)
    others = scores.argmax(dim=1)[:, None] != torch.arange(scores.shape[1], device=rows.device)
    source, targets = others.nonzero().T
    return source, targets


def _unmoved(model: nn.Module, visible: Tensor, labels: Tensor, chunk: int) -> DescentResult:
    """Return clean images as the result of an attack of size 0."""
    batch = Batch(model, visible, log_energy=False)
    end = Descended.at_start(batch.flat)
    end.codes.fill_(code(Stop.MAX_STEPS))
    wrong = outputs(model, visible, chunk)[0] != labels
    return batch.result(batch.flat, end, labels, labels, wrong)

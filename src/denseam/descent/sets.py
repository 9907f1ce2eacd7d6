"""Descents whose images are kept: each makes an ``ImageSet`` with all that is known of every image.

Facts of every set, (M,) each, distances in visible units:

    top, target         the model's choice at the start (or the right class), and where it went
    predicted, scores   the model's label of the image, and its Y (outputs, for other modules)
    success, stopped    whether it got there, and why it stopped: positions in metadata["stopped"]
    steps, l2, linf, l0 how many, and how far
    source              which image of the source set it was

Boundary sets add ``margin``, ``boundary_l2``, ``boundary_linf`` and what ``keep`` names; sets of
the sign family ``eps``. ``metadata`` says which model, images and parameters made them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from denseam.checks import choice, numbers, seed_of, whole
from denseam.classifier import Classifier
from denseam.data import ImageSet
from denseam.descent.boundary import cross_boundary
from denseam.descent.common import Progress, in_parts
from denseam.descent.facts import describe, facts_of, inputs, outputs, to_set
from denseam.descent.heads import head_of
from denseam.descent.loop import Norm
from denseam.descent.minimum import minimum_norm
from denseam.descent.parts import build
from denseam.descent.result import Descended, DescentResult, Stop, code
from denseam.descent.rubbish import rubbish
from denseam.descent.sign import basic_iterative, least_likely, sign_gradient
from denseam.descent.targets import Target, resolve
from denseam.errors import InputError

__all__ = ["Keep", "Method", "attack_set", "boundary_set", "minimum_set", "rubbish_set"]

Keep = Literal["before", "boundary", "final"]
Method = Literal["fgsm", "bim", "llc"]
_METHODS: dict[str, Callable[..., DescentResult]] = {
    "fgsm": sign_gradient,
    "bim": basic_iterative,
    "llc": least_likely,
}


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
    """The first images behind the boundary, with the right labels of the images they came from.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        images: where to start.
        out: file to write, ``.safetensors`` or ``.npz``. Every chunk is on the disk before the
            next begins, and the same call goes on where the last one was stopped.
        target: as for ``cross_boundary``, or "each": every other class in turn.
        keep: other images to keep as facts (M, H, W): those "before" the boundary, those on the
            "boundary" (float64), and the "final" ones, converged.
        input_shape: of one image as the module takes it; (N,) by default.
        seed: of random targets.
        chunk: images at once.
        on_progress: told of images done and images in all.
        shared: other processes make the same call, and all of them share the chunks.
        **options: of ``cross_boundary``: step, norm, objective, mode, max_steps, loss_power.

    Raises:
        InputError: as ``cross_boundary``, and for what ``keep`` does not know.
        RunFolderError: when ``out`` is there and was made otherwise.
    """
    if not set(keep) <= set(get_args(Keep)):
        raise InputError(f"keep = {list(keep)}: wanted some of {', '.join(get_args(Keep))}")
    chunk, seed = whole("chunk", chunk), seed_of(seed)
    visible = inputs(model, images, input_shape)
    rows, targets = _rows_and_targets(model, visible, target, seed=seed, chunk=chunk)
    given = target.tolist() if isinstance(target, Tensor) else target
    asked = {**options, "target": given, "seed": seed, "keep": sorted(keep)}
    metadata = describe("boundary", model, images, cross_boundary, asked)

    def make(cut: slice, progress: Progress) -> ImageSet:
        found = cross_boundary(
            model, visible[rows[cut]], targets[cut], chunk=chunk, converge="final" in keep,
            on_progress=progress, **options,
        )  # fmt: skip
        source = rows[cut].cpu()
        facts = facts_of(model, found, source, chunk) | {
            "margin": found.margin.cpu(),
            "boundary_l2": found.boundary_distances.l2.cpu(),
            "boundary_linf": found.boundary_distances.linf.cpu(),
        }
        for name in sorted(keep):
            facts[name] = getattr(found, name).reshape(-1, *images.shape).cpu()
        return to_set(found.images, images.labels[source], images, facts, metadata)

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
    """Rubbish images of every class, labelled as the class they were made for.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        classes: all by default.
        out: file to write; see ``boundary_set``. A chunk holds whole classes.
        shape: (H, W) of an image, H W = N.
        class_names: C names; numbers by default.
        per_class: how many for each class.
        input_shape: of one image as the module takes it; (N,) by default.
        chunk: images at once.
        on_progress: told of images done and images in all.
        shared: other processes make the same call, and all of them share the chunks.
        **options: of ``rubbish``: noise, step, max_steps, loss_power, seed.

    Raises:
        InputError: as ``rubbish``.
        RunFolderError: when ``out`` is there and was made otherwise.
    """
    height, width = (whole("shape", side) for side in shape)
    shape, chunk, per_class = (height, width), whole("chunk", chunk), whole("per_class", per_class)
    as_taken = tuple(input_shape or (height * width,))
    if isinstance(model, Classifier) and as_taken != (model.n_visible,):
        raise InputError(f"shape = {shape}: the model's images have {model.n_visible} pixels")
    n_classes = outputs(model, _blank(model, as_taken), 1)[1].shape[1]
    wanted = range(n_classes) if classes is None else classes
    wanted = [whole("classes", c, 0, n_classes - 1) for c in wanted]
    if not wanted:
        raise InputError("classes = []: wanted one class or more")
    asked = {**options, "classes": wanted, "per_class": per_class}
    names = tuple(class_names)
    metadata = describe("rubbish", model, None, rubbish, asked)
    metadata |= {"shape": list(shape), "class_names": list(names)}

    def make(cut: slice, progress: Progress) -> ImageSet:
        found = rubbish(
            model, wanted[cut.start // per_class : cut.stop // per_class], per_class=per_class,
            shape=as_taken, chunk=chunk, on_progress=progress, **options,
        )  # fmt: skip
        facts = facts_of(model, found, torch.arange(len(found)) % per_class, chunk)
        images = found.images.reshape(-1, *shape).cpu()
        like = ImageSet(images, found.targets.cpu(), n_classes, names)
        return to_set(images, like.labels, like, facts, metadata)

    cuts = _cuts(len(wanted) * per_class, max(1, chunk // per_class) * per_class)
    return build(make, cuts, out, metadata, on_progress, shared=shared)


def attack_set(
    model: nn.Module,
    images: ImageSet,
    method: Method,
    eps: float | Sequence[float],
    out: str | Path | None = None,
    *,
    input_shape: Sequence[int] | None = None,
    chunk: int = 1000,
    on_progress: Progress | None = None,
    shared: bool = False,
    **options: Any,
) -> ImageSet:
    """Images moved along signs of gradients, for one size after the other, with the right labels.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        images: where to start, with the right labels.
        method: "fgsm", "bim" or "llc".
        eps: Linf size in visible units, or several; fact ``eps``. 0 keeps the images as they are.
        out: file to write; see ``boundary_set``.
        input_shape: of one image as the module takes it; (N,) by default.
        chunk: images at once.
        on_progress: told of images done and images in all.
        shared: other processes make the same call, and all of them share the chunks.
        **options: of ``sign_gradient``, ``basic_iterative`` or ``least_likely``.

    Raises:
        InputError: as those.
        RunFolderError: when ``out`` is there and was made otherwise.
    """
    method, chunk = choice("method", method, get_args(Method)), whole("chunk", chunk)
    sizes = numbers("eps", eps, least=0, unit="visible units")
    visible, count = inputs(model, images, input_shape), len(images)
    attack = _METHODS[method]
    asked = {"loss": "objective", "clip": True, **options, "method": method, "eps": sizes}
    metadata = describe("attack", model, images, attack, asked)

    def make(cut: slice, progress: Progress) -> ImageSet:
        size = sizes[cut.start // count]
        part = slice(cut.start % count, (cut.stop - 1) % count + 1)
        v, labels = visible[part], images.labels[part]
        given = labels.to(v.device)
        if size == 0:
            found = _unmoved(model, v, given, chunk)
        else:
            found = attack(model, v, given, size, chunk=chunk, on_progress=progress, **options)
        facts = facts_of(model, found, torch.arange(part.start, part.stop), chunk)
        facts["eps"] = torch.full((len(found),), size, dtype=torch.float64)
        return to_set(found.images, labels, images, facts, metadata)

    cuts = [
        slice(i * count + cut.start, i * count + cut.stop)
        for i in range(len(sizes))
        for cut in _cuts(count, chunk)
    ]
    return build(make, cuts, out, metadata, on_progress, shared=shared)


def minimum_set(
    model: nn.Module,
    images: ImageSet,
    out: str | Path | None = None,
    *,
    norm: Norm = "l2",
    input_shape: Sequence[int] | None = None,
    chunk: int = 500,
    on_progress: Progress | None = None,
    shared: bool = False,
    **options: Any,
) -> ImageSet:
    """The nearest images that are labelled otherwise, with the right labels.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        images: where to start, with the right labels.
        out: file to write; see ``boundary_set``.
        norm: "l2" or "linf", what is to be least.
        input_shape: of one image as the module takes it; (N,) by default.
        chunk: images at once.
        on_progress: told of images done and images in all.
        shared: other processes make the same call, and all of them share the chunks.
        **options: of ``minimum_norm``: rounds, starts.

    Raises:
        InputError: as ``minimum_norm``.
        RunFolderError: when ``out`` is there and was made otherwise.
    """
    chunk, norm = whole("chunk", chunk), choice("norm", norm, get_args(Norm))
    visible = inputs(model, images, input_shape)
    asked = {**options, "method": "minimum", "norm": norm}
    metadata = describe("attack", model, images, minimum_norm, asked)

    def make(cut: slice, progress: Progress) -> ImageSet:
        labels = images.labels[cut]
        found = minimum_norm(
            model, visible[cut], labels.to(visible.device), norm=norm, chunk=chunk,
            on_progress=progress, **options,
        )  # fmt: skip
        facts = facts_of(model, found, torch.arange(cut.start, cut.stop), chunk)
        return to_set(found.images, labels, images, facts, metadata)

    return build(make, _cuts(len(images), chunk), out, metadata, on_progress, shared=shared)


def _cuts(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _blank(model: nn.Module, shape: Sequence[int]) -> Tensor:
    """One image of zeros, as the model takes it."""
    own = next(model.parameters(), None)
    blank = torch.zeros(1, *shape)
    return blank if own is None else blank.to(own)


def _rows_and_targets(
    model: nn.Module, visible: Tensor, target: Target | Literal["each"], *, seed: int, chunk: int
) -> tuple[Tensor, Tensor]:
    """Which images to start from and where to, (R,) each, whatever the chunks."""
    shape, flat = visible.shape[1:], visible.flatten(1)
    head = head_of(model, shape, log_energy=False)
    scores = in_parts(lambda part: head(flat[part]).values, len(flat), chunk)
    rows = torch.arange(len(flat), device=flat.device)
    if target != "each" or isinstance(target, Tensor):
        return rows, resolve(target, scores, seed=seed)
    others = scores.argmax(dim=1)[:, None] != torch.arange(scores.shape[1], device=flat.device)
    each = others.nonzero()
    return each[:, 0], each[:, 1]


def _unmoved(model: nn.Module, visible: Tensor, labels: Tensor, chunk: int) -> DescentResult:
    """The clean images as the result of an attack of size 0."""
    end = Descended.at_start(visible.flatten(1))
    end.codes.fill_(code(Stop.MAX_STEPS))
    wrong = outputs(model, visible, chunk)[0] != labels
    return DescentResult.of(
        end.before, end, labels, labels, wrong, shape=visible.shape[1:], clipped=True
    )

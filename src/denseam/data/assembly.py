"""Put a set together from the arrays that a reader has read, and note what was taken for what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from denseam.data.classes import Classes, to_classes
from denseam.data.examples import Dataset, Examples
from denseam.data.featureset import FeatureSet
from denseam.data.imageset import ImageSet
from denseam.data.pixels import Scale
from denseam.data.units import looks_like_pixels, units_of
from denseam.errors import InputError

Kind = Literal["pictures", "features"]
"""What examples are: pictures, or rows of numbers."""


_OFFSET = "which float32 does not resolve"


class Arrays(NamedTuple):
    """Examples (M, ...) and labels (M,), as a file holds them."""

    examples: NDArray[Any]
    labels: Any


@dataclass
class Source:
    """The contents of a file or folder, on the way to a set.

    Attributes:
        name: of the data set.
        reader: what kind of source it is, such as "csv".
        parts: "train" and "test", or one part under any other name.
        notes: sentences that say what was taken for what, and what was left out.
        feature_names, class_names: where the source has them.
        kind: pictures or features, where the source is clear about it.
        shape: of pictures that lie flat.
    """

    name: str
    reader: str
    parts: dict[str, Arrays]
    notes: list[str] = field(default_factory=list)
    feature_names: Sequence[str] = ()
    class_names: Sequence[str] = ()
    kind: Kind | None = None
    shape: tuple[int, ...] | None = None


def assemble(source: Source, *, scale: Scale | None, kind: Kind | None) -> Dataset | Examples:
    """Return the training and test set of a source, or its only set.

    Units of pixels come from the training pictures, and count for the test pictures too.

    Raises:
        InputError: for arrays that are no set of examples.
    """
    for what, part in source.parts.items():
        if part.examples.ndim < 2:
            raise InputError(
                f"{what}: examples must be (M, D), (M, H, W) or in colour, got "
                f"{part.examples.shape}"
            )
        if len(part.examples) == 0:
            raise InputError(f"{what} is empty: examples have shape {part.examples.shape}")
    examples = {what: part.examples for what, part in source.parts.items()}
    kind = kind or source.kind or _kind(next(iter(examples.values())))
    if kind == "pictures":
        examples = _pixels(source, examples, scale)
    elif scale is not None:
        raise InputError("scale is for pixels, and these are rows of numbers")
    classes = _classes(source)
    metadata = {"source": source.name, "reader": source.reader, "notes": source.notes}
    make = _image_set if kind == "pictures" else _feature_set
    sets = {
        what: make(source, examples[what], classes[what], _named(source, what), scale, metadata)
        for what in source.parts
    }
    if "test" in sets and "train" in sets:
        return Dataset(source.name, sets["train"], sets["test"])
    return next(iter(sets.values()))


def _named(source: Source, what: str) -> str:
    return f"{source.name} {what}" if len(source.parts) > 1 else source.name


def _kind(examples: NDArray[Any]) -> Kind:
    flat = examples.ndim == 2
    return "features" if flat and not looks_like_pixels(examples) else "pictures"


def _pixels(
    source: Source, examples: Mapping[str, NDArray[Any]], scale: Scale | None
) -> dict[str, NDArray[Any]]:
    """Return pictures in bytes or visible units; with a scale, as they are."""
    if scale is not None:
        return dict(examples)
    units = units_of(next(iter(examples.values())))
    if units.text:
        source.notes.append(units.text)
    pixels = {}
    for what, array in examples.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{what} images hold NaN or infinite pixels; all must be finite")
        pixels[what], clipped = units.apply(array)
        if clipped:
            source.notes.append(
                f"{clipped} {what} pixels lie outside of {units.low:g}..{units.high:g} and are "
                "clipped"
            )
    return pixels


def _image_set(
    source: Source, pixels: NDArray[Any], classes: Classes, name: str, scale: Scale | None,
    metadata: dict[str, Any],
) -> ImageSet:  # fmt: skip
    visible = scale or ("byte" if pixels.dtype == np.uint8 else "visible")
    return ImageSet.from_arrays(
        pixels, classes.labels, name=name, shape=source.shape, scale=visible,
        n_classes=len(classes.names), class_names=classes.names, metadata=metadata,
    )  # fmt: skip


def _feature_set(
    source: Source, features: NDArray[Any], classes: Classes, name: str, scale: Scale | None,
    metadata: dict[str, Any],
) -> FeatureSet:  # fmt: skip
    del scale
    rows = features.reshape(len(features), -1)
    _check_finite(rows, source)
    _note_offsets(rows, source)
    return FeatureSet.from_arrays(
        rows, classes.labels, name=name, class_names=classes.names,
        feature_names=source.feature_names, metadata=metadata,
    )  # fmt: skip


def _check_finite(rows: NDArray[Any], source: Source) -> None:
    if rows.dtype.kind != "f" or np.isfinite(rows).all():
        return
    bad = np.argwhere(~np.isfinite(rows))
    row, column = bad[0]
    name = f" ({source.feature_names[column]!r})" if source.feature_names else ""
    raise InputError(
        f"row {row + 1}, column {column + 1}{name} is {rows[row, column]}: fill it in, or leave "
        f"out the row; {len(bad)} such in all"
    )


def _note_offsets(rows: NDArray[Any], source: Source) -> None:
    """Note a feature whose spread float32 cannot see beside its mean."""
    if rows.dtype != np.float64 or any(_OFFSET in note for note in source.notes):
        return
    with np.errstate(over="ignore", invalid="ignore"):  # infinite beyond 1e154: no offset
        mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    for column in np.flatnonzero((deviation > 0) & (deviation < 1e-5 * np.abs(mean)))[:1]:
        name = source.feature_names[column] if source.feature_names else column + 1
        source.notes.append(
            f"feature {name} varies by {deviation[column]:g} around {mean[column]:g}, {_OFFSET}: "
            "subtract its mean first for other programs (denseam works in float64)"
        )


def _classes(source: Source) -> dict[str, Classes]:
    """Return the classes of every part, numbered alike."""
    labels = [np.asarray(part.labels) for part in source.parts.values()]
    for what, part, each in zip(source.parts, source.parts.values(), labels, strict=True):
        if each.ndim == 0 or len(each) != len(part.examples):
            raise InputError(
                f"{what}: labels must have shape ({len(part.examples)},), got {each.shape}"
            )
    dtypes = {each.dtype.kind for each in labels}
    if len(dtypes) > 1 and dtypes & set("OUS"):
        labels = [each.astype(str) for each in labels]
    joint = to_classes(np.concatenate(labels), source.class_names)
    ends = np.cumsum([len(each) for each in labels])[:-1]
    numbers = np.split(joint.labels.numpy(), ends)
    first = np.unique(numbers[0])
    parts = dict(zip(source.parts, numbers, strict=True))
    _check_classes(source, joint, first, parts)
    return {
        what: Classes(torch.from_numpy(each.copy()), joint.names) for what, each in parts.items()
    }


def _check_classes(
    source: Source, joint: Classes, first: NDArray[Any], parts: Mapping[str, NDArray[Any]]
) -> None:
    """Raise InputError unless there are two classes or more, all of them in the first part."""
    what = next(iter(parts))
    if len(first) == 1:
        raise InputError(
            f"every label{'' if len(parts) == 1 else f' of {what}'} is {joint.names[first[0]]!r}: "
            f"wanted two classes or more{_none_of(joint.names[first[0]])}"
        )
    total = len(joint.labels)
    if len(joint.names) > 100 and 2 * len(joint.names) > total:
        raise InputError(
            f"{len(joint.names)} different labels in {total} rows are no classes: which column "
            "holds the class? Say it by label= (--label)"
        )
    for name, numbers in parts.items():
        strange = np.setdiff1d(numbers, first)
        if len(strange):
            known = [joint.names[c] for c in first]
            numbered = known == [str(c) for c in range(len(known))]
            span = f"0..{len(known) - 1}" if numbered else "classes of the training examples"
            raise InputError(f"labels of {name} must lie in {span}, got {joint.names[strange[0]]}")
    if not source.class_names and joint.names != tuple(map(str, range(len(joint.names)))):
        source.notes.append(f"{len(joint.names)} classes: {_listed(joint.names)}")


def _none_of(label: str) -> str:
    """Return what is missing where labels are numbers from 0."""
    if not label.isdecimal() or not 0 < int(label) < 100:
        return ""
    shown = [*map(str, range(int(label)))]
    return f"; no example of class {', '.join(shown[:10])}{', ...' if len(shown) > 10 else ''}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")

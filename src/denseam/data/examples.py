"""The base class of labelled examples, and the training and test set of a data set."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Self, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import TypeVar

from denseam.checks import seed_of, whole
from denseam.data import setfiles
from denseam.data.arrays import rows_of
from denseam.data.example import Example
from denseam.data.splits import split_rows, tail_is_fair
from denseam.data.validate import check_class_names, check_facts, check_labels
from denseam.errors import InputError
from denseam.showing import Drawn, Shown, Tabular


class Examples(Shown, Tabular, ABC):
    """Labelled examples of one kind: an `ImageSet` or a `FeatureSet`.

    A subclass is a frozen dataclass whose first field is one tensor with a row for each example; it
    names that field in ``array``. What is common to both kinds is here.
    """

    kind: ClassVar[str]  # in files and messages
    array: ClassVar[str]  # the field with the examples
    labels: Tensor  # (M,) int64
    n_classes: int
    class_names: tuple[str, ...]
    name: str
    metadata: Mapping[str, Any]
    facts: Mapping[str, Tensor]

    def _check_common(self) -> None:
        """Check and normalise the fields that every kind of set has."""
        count = len(self.values)
        object.__setattr__(self, "n_classes", whole("n_classes", self.n_classes))
        check_labels(self.labels, self.n_classes, count)
        names = tuple(self.class_names) or tuple(str(c) for c in range(self.n_classes))
        check_class_names(names, self.n_classes)
        check_facts(self.facts, count)
        object.__setattr__(self, "class_names", names)
        object.__setattr__(self, "facts", dict(self.facts))  # what was checked stays checked

    @property
    def values(self) -> Tensor:
        """The tensor of all examples, (M, *input_shape), in the type that it is stored in."""
        values: Tensor = getattr(self, self.array)
        return values

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return tuple(self.values.shape[1:])

    @property
    def n_inputs(self) -> int:
        """The number of numbers in one example."""
        return self.values[0].numel()

    @abstractmethod
    def inputs(
        self, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> Tensor:
        """Return a copy of the examples as networks take them, (M, n_inputs)."""

    def with_rows(self, values: Tensor, labels: Tensor, facts: Mapping[str, Tensor]) -> Self:
        """Return a set with other examples, and all else as it is."""
        changed = {self.array: values, "labels": labels, "facts": facts}
        return replace(self, **changed)  # type: ignore[type-var]

    def traits(self) -> dict[str, object]:
        """Return what two sets to concatenate have in common."""
        return {
            "kind": self.kind,
            "shape": self.input_shape,
            "dtype": self.values.dtype,
            "device": self.values.device,
            "n_classes": self.n_classes,
            "class_names": self.class_names,
            **{f"fact {name!r}": _fact_kind(value) for name, value in self.facts.items()},
        }

    def __len__(self) -> int:
        return len(self.values)

    def _summary(self) -> str:
        size = "x".join(map(str, self.values.shape))
        dtype = str(self.values.dtype).removeprefix("torch.")
        return f"{self.name!r}, {size} {dtype}, {self.n_classes} classes"

    def _columns(self) -> dict[str, list[Any]]:
        labels = self.labels.tolist()
        scalars = {name: v.tolist() for name, v in self.facts.items() if v.ndim == 1}
        return {"label": labels, "class": [self.class_names[c] for c in labels], **scalars}

    def _rows(self) -> dict[str, list[Any]]:
        counts = self.class_counts().tolist()
        return {"class": list(self.class_names), "examples": counts}

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(
        self, index: slice | Tensor | NDArray[np.integer | np.bool_] | list[int]
    ) -> Self: ...
    def __getitem__(
        self, index: int | slice | Tensor | NDArray[np.integer | np.bool_] | list[int]
    ) -> Example | Self:
        """Return one example of a whole number; a set of a slice, indices or a mask.

        Raises:
            IndexError: for a number out of range.
            InputError: as ``subset``.
        """
        if not isinstance(index, int | np.integer) and getattr(index, "ndim", 1) > 0:
            return self.subset(cast("slice", index))
        count = len(self)
        row = whole("index", index, -count)
        if row >= count:
            raise IndexError(f"{self.name} has {count} examples, got index {row}")
        row %= count
        label = int(self.labels[row])
        facts = {name: value[row] for name, value in self.facts.items()}
        return Example(
            self.values[row], label, self.class_names[label], f"{self.name}[{row}]", facts
        )

    def __iter__(self) -> Iterator[Example]:
        return (self[row] for row in range(len(self)))

    def class_counts(self) -> Tensor:
        """Count the examples of each class, (C,) int64."""
        return torch.bincount(self.labels, minlength=self.n_classes)

    def subset(
        self, indices: Iterable[int] | Tensor | NDArray[np.integer | np.bool_] | slice
    ) -> Self:
        """Return some of the examples, in the order of the indices; classes and name stay.

        Args:
            indices: whole numbers, where negative ones count from the end; or a mask of M bools; or
                a slice, backwards too.

        Raises:
            InputError: when no example is left, for an index out of range, and for anything other
                than indices, a mask or a slice.
        """
        rows = rows_of(indices, len(self), self.array)
        facts = {name: value[rows] for name, value in self.facts.items()}
        return self.with_rows(self.values[rows], self.labels[rows], facts)

    def renamed(self, name: str, **metadata: Any) -> Self:
        """Return the same examples under another name, with more metadata."""
        return replace(self, name=name, metadata={**self.metadata, **metadata})  # type: ignore[type-var]

    def split(self, test: float = 0.2, seed: int = 0) -> "Dataset[Self]":
        """Return a training and a test set, drawn so that each class has its share in both.

        A class with one example is trained on; other classes are in both sets where that can be.

        Args:
            test: the fraction of the examples to test on, 0 < test < 1; or how many of them.
            seed: of the draw.

        Raises:
            InputError: for a size that leaves a side empty.

        >>> from denseam.data import ImageSet
        >>> images = ImageSet(torch.zeros(10, 2, 2), torch.arange(10) // 5, 2, name="blanks")
        >>> images.split(test=0.4).test.class_counts()
        tensor([2, 2])
        """
        seed = seed_of(seed)
        rows = split_rows(self.labels, self.n_classes, test, seed)
        split = {"split": {"of": self.name, "test": len(rows[1]), "seed": seed}}
        train, held_out = (
            self.subset(part).renamed(f"{self.name} {what}", **split)
            for part, what in zip(rows, ("train", "test"), strict=True)
        )
        return Dataset(self.name, train, held_out)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join sets one after the other; name and metadata are those of the first.

        Raises:
            InputError: when there is no set, or two differ in kind, shape, dtype or classes, or in
                the names, types or shapes of their facts.

        >>> from denseam.data import ImageSet
        >>> images = ImageSet(torch.zeros(3, 2, 2), torch.tensor([2, 0, 1]), n_classes=3)
        >>> len(ImageSet.concatenate([images, images.subset([0])]))
        4
        """
        _check_alike(parts)
        first = parts[0]
        return first.with_rows(
            torch.cat([part.values for part in parts]),
            torch.cat([part.labels for part in parts]),
            {name: torch.cat([part.facts[name] for part in parts]) for name in first.facts},
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the set to one file, ``.safetensors`` or (compressed) ``.npz``, bit for bit.

        `denseam.data.load` reads it back. Metadata come back as JSON has them: a tuple as a list, a
        number used as a key as a string.

        Raises:
            InputError: for another suffix, metadata that are no JSON, or a type of numbers that the
                format does not have (bfloat16 in ``.npz``).
            SaveError: when the file cannot be written; an older file is untouched.
        """
        setfiles.write(self.kind, vars(self), path)

    def digest(self) -> str:
        """Return the SHA-256 (hex) of shape, type, numbers and labels: the identity of the data.

        Facts do not count: they are about the data.

        >>> from denseam.data import ImageSet
        >>> ImageSet(torch.zeros(1, 2, 2), torch.tensor([0]), 1).digest()[:12]
        'ed99489a3d24'
        """
        values, labels = (t.detach().cpu().contiguous() for t in (self.values, self.labels))
        sha = hashlib.sha256(f"{tuple(values.shape)} {values.dtype} ".encode())
        sha.update(values.numpy().data)
        sha.update(labels.numpy().data)
        return sha.hexdigest()


Kind = TypeVar("Kind", bound=Examples, default=Any)
"""The kind of set, for type checkers."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset(Shown, Drawn, Generic[Kind]):
    """A training set and a test set of the same kind, shape and classes.

    Raises:
        InputError: when kind, shape or classes of the two differ.
    """

    _figure = "grid"
    name: str
    train: Kind
    test: Kind

    def _summary(self) -> str:
        return (
            f"{self.name!r}, {len(self.train)} to train on and {len(self.test)} to test on, "
            f"{'x'.join(map(str, self.train.input_shape))}, {self.train.n_classes} classes"
        )

    def _thumbnails(self) -> Tensor | None:
        return self.train._thumbnails()  # noqa: SLF001 (as in ``Shown``)

    def _sheet(self, count: int) -> tuple[Any, ...]:
        if not isinstance(self.train, Drawn):
            raise InputError(f"{self.name} has rows of numbers: wanted pictures to draw")
        sheet: tuple[Any, ...] = self.train._sheet(count)  # noqa: SLF001 (as in ``Drawn``)
        return sheet

    def __post_init__(self) -> None:
        kinds = [type(part).__name__ for part in (self.train, self.test)]
        if kinds[0] != kinds[1]:
            raise InputError(f"{self.name}: train is of type {kinds[0]}, test of type {kinds[1]}")
        for what, name in _ALIKE.items():
            train, test = getattr(self.train, name), getattr(self.test, name)
            if train != test:
                raise InputError(f"{self.name}: {what} differs, train {train} and test {test}")

    def hold_out(self, count: int, seed: int = 0) -> "Dataset[Kind]":
        """Return a data set whose test examples are ``count`` of the training examples.

        They are the last ones where these stand for the whole, as in sets that lie in random order.
        Where the examples come class by class, or a class is rare at the end, they are drawn, so
        that each class has its share; the name of the result says so.

        Tune a recipe on it, so that the real test examples play no role.

        Args:
            count: how many.
            seed: of the draw.

        Raises:
            InputError: unless 1 <= count < the number of training examples.

        >>> from denseam.data import ImageSet
        >>> images = ImageSet(torch.zeros(10, 2, 2), torch.arange(10) % 2, n_classes=2)
        >>> held_out = Dataset("blanks", images, images).hold_out(3)
        >>> len(held_out.train), len(held_out.test)
        (7, 3)
        """
        total = len(self.train)
        count = whole("count", count, 1, total - 1)
        rows: tuple[Tensor | slice, Tensor | slice]
        if tail_is_fair(self.train.labels, self.train.n_classes, count):
            name = f"{self.name} without the last {count}"
            rows = (slice(0, total - count), slice(total - count, total))
        else:
            name = f"{self.name} without {count} drawn by class"
            rows = split_rows(self.train.labels, self.train.n_classes, count, seed)
        return Dataset(name, *(self.train.subset(part) for part in rows))


_ALIKE = {"shape": "input_shape", "n_classes": "n_classes", "class_names": "class_names"}


def _check_alike(parts: Sequence[Examples]) -> None:
    """Raise InputError unless sets have the same kind of examples, classes and facts.

    The message names the first difference.
    """
    if not parts:
        raise InputError("nothing to concatenate: wanted one set of examples or more, got none")
    first = parts[0].traits()
    for number, part in enumerate(parts[1:], 1):
        other = part.traits()
        for what in dict.fromkeys([*first, *other]):
            a, b = first.get(what, "absent"), other.get(what, "absent")
            if a != b:
                raise InputError(
                    f"{part.kind}s to concatenate must be alike: {what} is {a} in part 0 "
                    f"({parts[0].name!r}) and {b} in part {number} ({part.name!r})"
                )


def _fact_kind(fact: Tensor) -> str:
    """Return type and shape without the number of examples, such as ``float64 (M, 28, 28)``."""
    axes = ", ".join(map(str, fact.shape[1:]))
    return f"{str(fact.dtype).removeprefix('torch.')} (M,{axes and f' {axes}'})"

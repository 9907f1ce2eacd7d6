"""Labelled rows of numbers: tables and embeddings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from denseam.data.arrays import to_facts, to_tensor
from denseam.data.classes import to_classes
from denseam.data.examples import Examples
from denseam.data.validate import check_features
from denseam.errors import InputError


@dataclass(frozen=True, eq=False, repr=False)
class FeatureSet(Examples):
    """Labelled rows of numbers of any range, such as a table or embeddings.

    A network takes them through a front, see ``denseam.fronts.Table``; what is drawn or attacked
    as a picture wants an ``ImageSet``.

    Attributes:
        features: (M, D) float32 or float64, finite.
        labels: (M,) int64 in 0 .. n_classes - 1.
        n_classes: C.
        class_names: C distinct strings; the class numbers where none are given.
        name: what to call the set in messages and records.
        metadata: JSON-able facts about the set.
        facts: values for each row, by name: tensors (M, ...), bool, integer or floating.
        feature_names: D strings, or none.

    Raises:
        InputError: for tensors of another shape or type, numbers that are not finite, or labels,
            names and facts that do not fit them.

    >>> FeatureSet(torch.eye(3), torch.tensor([0, 1, 1]), n_classes=2, name="units")
    FeatureSet('units', 3x3 float32, 2 classes)
    """

    kind: ClassVar[str] = "feature set"
    array: ClassVar[str] = "features"

    features: Tensor
    labels: Tensor
    n_classes: int
    class_names: tuple[str, ...] = ()
    name: str = "features"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Tensor] = field(default_factory=dict)
    feature_names: tuple[str, ...] = ()

    def _columns(self) -> dict[str, list[Any]]:
        names = self.feature_names or tuple(f"x{i}" for i in range(self.n_inputs))
        features = dict(zip(names, self.features.T.tolist(), strict=True))
        return {**features, **super()._columns()}

    def __post_init__(self) -> None:
        check_features(self.features)
        self._check_common()
        names = tuple(self.feature_names)
        if names and len(names) != self.n_inputs:
            raise InputError(f"{self.n_inputs} features have {len(names)} names")
        if not all(isinstance(name, str) for name in names):
            raise InputError(f"feature names must be strings, got {names!r}")
        object.__setattr__(self, "feature_names", names)

    @classmethod
    def from_arrays(
        cls,
        features: object,
        labels: object,
        *,
        name: str = "features",
        class_names: Sequence[str] = (),
        feature_names: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        facts: Mapping[str, object] | None = None,
    ) -> "FeatureSet":
        """Make a set of NumPy arrays or tensors.

        Args:
            features: (M, D), or (M, ...), which is flattened; integers, bools or floats.
            labels: (M,) of any values: numbers, strings, bools; or (M, C) one-hot. The classes are
                the distinct values in their order, and their names.
            name: what to call the set.
            class_names: C names; labels are then 0 .. C - 1.
            feature_names: D names.
            metadata: JSON-able facts to keep with the set.
            facts: values for each row, by name: arrays or tensors (M, ...).

        Raises:
            InputError: for arrays of another shape or type.

        >>> iris = FeatureSet.from_arrays([[5.1, 3.5], [6.2, 2.9]], ["setosa", "virginica"])
        >>> iris.labels, iris.class_names
        (tensor([0, 1]), ('setosa', 'virginica'))
        """
        numbers = to_tensor(features, "features")
        if numbers.ndim < 2 or numbers.is_complex():
            raise InputError(
                f"features must be real numbers (M, D), got {tuple(numbers.shape)} {numbers.dtype}"
            )
        numbers = numbers.reshape(len(numbers), -1) if len(numbers) else numbers.flatten(1)
        if numbers.dtype not in (torch.float32, torch.float64):
            exact = numbers.dtype in (torch.float16, torch.bfloat16, torch.uint8, torch.bool)
            numbers = numbers.to(torch.float32 if exact else torch.float64)
        classes = to_classes(labels, class_names)
        return cls(
            numbers, classes.labels, len(classes.names), classes.names, name,
            dict(metadata or {}), to_facts(facts), tuple(feature_names),
        )  # fmt: skip

    def inputs(
        self, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> Tensor:
        """Return a copy of the features, (M, D), in a floating dtype.

        Raises:
            InputError: when ``dtype`` is not a floating one.
        """
        if not dtype.is_floating_point:
            raise InputError(f"inputs are floating, got dtype {dtype}")
        return self.features.to(device or self.features.device, dtype, copy=True)

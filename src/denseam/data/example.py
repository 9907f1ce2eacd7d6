"""One example of a set."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from denseam.errors import InputError

__all__ = ["Example"]


@dataclass(frozen=True, eq=False, repr=False)
class Example:
    """One example of a set.

    Attributes:
        values: the image (H, W) or (3, H, W), or the features (D,).
        label: 0 .. C - 1.
        class_name: the name of that class.
        name: set and row, such as "mnist test[7]".
        facts: its facts by name.
    """

    values: Tensor
    label: int
    class_name: str
    name: str
    facts: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def image(self) -> Tensor:
        """The pixels, (H, W) or (3, H, W).

        Raises:
            InputError: for a row of features.
        """
        if self.values.ndim == 1:
            raise InputError(f"{self.name} is a row of features, not a picture")
        return self.values

    @property
    def features(self) -> Tensor:
        """The numbers of a row, (D,); of an image, its pixels in a row."""
        return self.values.flatten()

    def __repr__(self) -> str:
        size = "x".join(map(str, self.values.shape))
        dtype = str(self.values.dtype).removeprefix("torch.")
        kind = "features" if self.values.ndim == 1 else "pixels"
        return f"Example({self.name!r}, {size} {dtype} {kind}, class {self.class_name!r})"

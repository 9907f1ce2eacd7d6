"""One example of a set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from denseam.errors import InputError
from denseam.showing import Drawn, Shown


@dataclass(frozen=True, eq=False, repr=False)
class Example(Shown, Drawn):
    """One example of a set.

    Attributes:
        values: the image (H, W) or (3, H, W), or the features (D,).
        label: 0 .. C - 1.
        class_name: the name of that class.
        name: set and row, such as "mnist test[7]".
        facts: its facts by name.
    """

    _figure: ClassVar[str] = "grid"

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

    def _summary(self) -> str:
        size = "x".join(map(str, self.values.shape))
        dtype = str(self.values.dtype).removeprefix("torch.")
        kind = "features" if self.values.ndim == 1 else "pixels"
        return f"{self.name!r}, {size} {dtype} {kind}, class {self.class_name!r}"

    def _thumbnails(self) -> Tensor | None:
        return None if self.values.ndim == 1 else self.values[None]

    def _sheet(self, _: int) -> tuple[Tensor, tuple[str], None]:
        return self.image[None], (self.class_name,), None

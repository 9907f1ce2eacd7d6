"""What a model was trained on, as its file says: what its inputs and labels mean."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from denseam.errors import InputError

__all__ = ["TrainedOn"]


@dataclass(frozen=True)
class TrainedOn:
    """The data that a model has learned.

    Attributes:
        data: the name of the set, such as "mnist train".
        input_shape: (H, W) or (3, H, W) of a picture, (D,) of a row of a table.
        class_names: C names.
        feature_names: D names of the columns of a table; empty for pictures.
        beta_sm: makes the mean confidence on images beyond the training set the accuracy there;
            None where it was not measured.
    """

    data: str
    input_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...] = ()
    beta_sm: float | None = None

    @property
    def handwriting(self) -> bool:
        """Whether these are images of MNIST's kind: ink of 20 in 28 pixels, its mass centred."""
        return self.data.split()[:1] == ["mnist"] or self.data.startswith("emnist")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Return what ``to_json`` wrote; fields of later versions are left out.

        Raises:
            InputError: when they are not whole.
        """
        try:
            return cls(
                data=str(fields["data"]),
                input_shape=tuple(int(side) for side in fields["input_shape"]),
                class_names=tuple(str(name) for name in fields["class_names"]),
                feature_names=tuple(str(name) for name in fields.get("feature_names", ())),
                beta_sm=None if fields.get("beta_sm") is None else float(fields["beta_sm"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"trained_on = {fields}: not whole ({error!r})") from error

"""Whether image sets can stand one behind the other as one set."""

from typing import TYPE_CHECKING

from torch import Tensor

from denseam.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from denseam.data.imageset import ImageSet  # which itself calls this

__all__ = ["check_alike"]


def check_alike(parts: "Sequence[ImageSet]") -> None:
    """Refuse sets that differ in the kind of their images, classes or facts.

    Raises:
        InputError: naming the first difference, or when there is no part at all.
    """
    if not parts:
        raise InputError("nothing to concatenate: wanted one image set or more, got none")
    first = _traits(parts[0])
    for number, part in enumerate(parts[1:], 1):
        other = _traits(part)
        for what in dict.fromkeys([*first, *other]):
            a, b = first.get(what, "absent"), other.get(what, "absent")
            if a != b:
                raise InputError(
                    f"image sets to concatenate must be alike: {what} is {a} in part 0 "
                    f"({parts[0].name!r}) and {b} in part {number} ({part.name!r})"
                )


def _traits(part: "ImageSet") -> dict[str, object]:
    return {
        "shape": part.shape,
        "dtype": part.images.dtype,
        "device": part.images.device,
        "n_classes": part.n_classes,
        "class_names": part.class_names,
        **{f"fact {name!r}": _kind(value) for name, value in part.facts.items()},
    }


def _kind(fact: Tensor) -> str:
    """Type and shape without the number of images, such as ``float64 (M, 28, 28)``."""
    axes = ", ".join(map(str, fact.shape[1:]))
    return f"{str(fact.dtype).removeprefix('torch.')} (M,{axes and f' {axes}'})"

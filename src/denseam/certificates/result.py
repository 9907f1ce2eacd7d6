"""Certificates of a batch: a radius and a proof for every image."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from denseam.checks import choice, number
from denseam.errors import FileFormatError, InputError
from denseam.files import read_json, write_json
from denseam.showing import Drawn, Shown, Tabular

__all__ = ["SHOWN", "Certificates", "join"]

_POINTS = 41
SHOWN: dict[str, tuple[float, ...]] = {"l2": (0.5, 1.0, 1.58, 2.0), "linf": (0.05, 0.1, 0.2, 0.3)}


@dataclass(frozen=True, eq=False, repr=False)
class Certificates(Shown, Drawn, Tabular):
    """Radii within which the label of an image is proven to stay right.

    Attributes:
        radii: (B,) float64 in visible units, where black and white are 2 apart; 0 where the label
            is wrong, or nothing could be proven.
        labels: (B,) int64 right classes.
        predicted: (B,) int64 labels of the model.
        norm: "l2" or "linf".
        box: whether changed images are images, in [-1, 1]; otherwise proven beyond that, too.
        proofs: for each image a dict with "bound", "radius" and what that bound needs; None where
            the radius is 0.
        model: the SHA-256 of the model.
        seconds: that it took.
    """

    _figure: ClassVar[str] = "certificates"

    radii: Tensor
    labels: Tensor
    predicted: Tensor
    norm: str
    box: bool
    proofs: tuple[dict[str, Any] | None, ...]
    model: str
    seconds: float

    def __len__(self) -> int:
        return len(self.radii)

    @property
    def distances(self) -> Tensor:
        """Radii in the [0, 1] units of toolkits, (B,) float64: half of those in visible units."""
        return self.radii / 2

    @property
    def error(self) -> float:
        """The fraction of images that are labelled wrongly."""
        return float((self.predicted != self.labels).double().mean())

    def accuracy(self, eps: float) -> float:
        """Return the certified accuracy: the fraction with a radius > eps, [0, 1] units.

        Raises:
            InputError: for eps < 0, or no images.
        """
        eps = number("eps", eps, least=0)
        if not len(self):
            raise InputError("certificates of no images have no accuracy")
        return float((self.distances > eps).double().mean())

    def curve(self, points: int = _POINTS) -> list[tuple[float, float]]:
        """Return (eps, certified accuracy) from 0 to the largest radius, [0, 1] units."""
        most = float(self.distances.max()) if len(self) else 0.0
        return [(e, self.accuracy(e)) for e in torch.linspace(0, most, points).tolist()]

    @property
    def median(self) -> float:
        """The median radius, wrong images included as 0; [0, 1] units."""
        return float(self.distances.median())

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the whole batch as plain JSON values."""
        return {
            "n_images": len(self),
            "norm": self.norm,
            "box": self.box,
            "units": "[0, 1]",
            "error": self.error,
            "certified": {f"{eps:g}": self.accuracy(eps) for eps in SHOWN[self.norm]},
            "median": self.median,
            "bounds": self.bounds,
            "seconds": self.seconds,
        }

    @property
    def bounds(self) -> dict[str, int]:
        """Numbers of radii that bounds have proven, by their names."""
        names = [proof["bound"] for proof in self.proofs if proof is not None]
        return {name: names.count(name) for name in sorted(set(names))}

    def _summary(self) -> str:
        if not len(self):
            return "no images"
        shown = ", ".join(f"{100 * self.accuracy(e):.1f} % at {e:g}" for e in SHOWN[self.norm])
        return (
            f"{len(self)} images, {self.norm}, [0, 1] units: error {100 * self.error:.2f} %, "
            f"certified {shown}, median {self.median:.3g}"
        )

    def _columns(self) -> dict[str, list[Any]]:
        bounds = [None if proof is None else proof["bound"] for proof in self.proofs]
        return {
            "label": self.labels.tolist(), "predicted": self.predicted.tolist(),
            "radius": self.distances.tolist(), "radius_visible": self.radii.tolist(),
            "bound": bounds,
        }  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values, proofs included."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in ("radii", "labels", "predicted"):
            values[name] = getattr(self, name).tolist()
        return {"certificates": 1, **values}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the certificates and their proofs as JSON, atomically."""
        write_json(Path(path), self.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read certificates; ``verify`` says whether they hold for a model and images.

        Raises:
            FileFormatError: for a file that holds none.
        """
        values = read_json(Path(path))
        try:
            if values.pop("certificates") != 1:
                raise FileFormatError(f"{path}: update denseam to read it")
            values["radii"] = torch.tensor(values["radii"], dtype=torch.float64)
            for name in ("labels", "predicted"):
                values[name] = torch.tensor(values[name], dtype=torch.int64)
            choice("norm", values["norm"], SHOWN)
            result = cls(**{**values, "proofs": tuple(values["proofs"])})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path} holds no certificates: {error!r}") from error
        if not len(result.radii) == len(result.labels) == len(result.proofs):
            raise FileFormatError(f"{path}: radii, labels and proofs differ in number")
        return result


def join(parts: Sequence[Certificates]) -> Certificates:
    """Return the certificates of several parts of a batch as one.

    Raises:
        InputError: for no part, or parts of several models, norms or boxes.
    """
    kinds = {(part.model, part.norm, part.box) for part in parts}
    if len(kinds) != 1:
        raise InputError(f"certificates of {len(kinds)} kinds: wanted one model, norm and box")
    return replace(
        parts[0],
        radii=torch.cat([part.radii for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
        predicted=torch.cat([part.predicted for part in parts]),
        proofs=tuple(proof for part in parts for proof in part.proofs),
        seconds=sum(part.seconds for part in parts),
    )

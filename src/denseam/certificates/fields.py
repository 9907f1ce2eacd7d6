"""A model as affine fields of memories, which is all that bounds and the verifier look at.

Field c of memory k is A_k v + b_kc, with v in [-1, 1]. A class scores at least its largest field,
less what float32 may lose, and at most kappa times its largest field, plus what float32 may add:

    largest field (n = inf)         kappa = 1
    rectified polynomial of n       kappa = K^(1/n), for || h ||_n <= K^(1/n) max h
    exponential of beta             kappa = 1, and log K / beta is added
    nearest neighbour               A = xi, b = -|xi|^2 / 2, or 0 for the overlap

So a class wins wherever one of its own fields is above kappa times every field of other classes.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from denseam.baselines import NearestNeighbour
from denseam.checks import number
from denseam.classifier import Classifier
from denseam.energies import Exponential, Largest, RectifiedPolynomial
from denseam.errors import InputError
from denseam.model import DenseAM

__all__ = [
    "Array",
    "Fields",
    "array",
    "fields_of",
    "front_bounds",
    "lipschitz_constant",
    "rounding",
]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fields:
    """Fields of K memories for C classes, all in float64.

    Attributes:
        A: (K, N) visible memories.
        b: (K, C) shifts; -inf where a memory has no field for a class.
        overlap_error: (K,) what float32 may add to an overlap, anywhere that a certificate reaches.
        shift_error: (K,) what it may add to a field beyond that.
        kappa: the most that a class may score, as a multiple of its largest field.
        extra: what may be added to that.
        power: n; infinite where no power is taken.
        blur: the relative error of a sum of powers in float32.
    """

    A: Array
    b: Array
    overlap_error: Array
    shift_error: Array
    kappa: float
    extra: float
    power: float
    blur: float

    @property
    def slack(self) -> Array:
        """Largest error of a field in float32, (K,)."""
        return self.overlap_error + self.shift_error

    def own(self, label: int) -> Array:
        """Return shifts (K,) of the fields of a class, rounded down."""
        return self.b[:, label] - self.slack

    def rival(self, label: int) -> Array:
        """Return shifts (K,) of the largest fields of the other classes, rounded up.

        They come times kappa, as the memories of rivals do.
        """
        others = np.delete(self.b, label, axis=1).max(axis=1, initial=-math.inf)
        return np.asarray(self.kappa * (others + self.slack) + self.extra)


def rounding(unit: float, terms: int) -> float:
    """Return the relative error of a sum of so many products, whatever their order."""
    return 1.01 * terms * unit / (1 - terms * unit)


def fields_of(model: Classifier, *, box: bool = True) -> Fields:
    """Return the fields of a model.

    Args:
        model: a ``DenseAM`` of any energy, or nearest neighbours.
        box: whether images stay in [-1, 1]; otherwise within the diameter of that box.

    Raises:
        InputError: for a network that has no fields.
    """
    unit = torch.finfo(model.memories.dtype).eps / 2
    A = array(model.visible_memories)
    K, N = A.shape
    if isinstance(model, NearestNeighbour):
        return _nearest(model, A, unit)
    if not isinstance(model, DenseAM):
        raise InputError(
            f"a network of kind {model.kind!r} has no fields: wanted a DenseAM or nearest "
            "neighbours; bound='lipschitz' takes ReLU and polynomial networks too"
        )
    votes = array(model.class_memories)
    b = 2 * votes - votes.sum(axis=1, keepdims=True)
    mass = np.abs(A).sum(axis=1)
    if not box:
        mass += 2 * math.sqrt(N) * np.sqrt((A**2).sum(axis=1))
    overlap_error = (rounding(unit, N + 4) + 2.0**-48) * mass + 1e-35
    shifts = 3 * np.abs(votes).sum(axis=1)
    shift_error = (rounding(unit, votes.shape[1] + 4) + 2.0**-48) * shifts + 2 * unit * mass + 1e-35
    energy = model.energy
    kappa, extra, power, blur = 1.0, 0.0, math.inf, 0.0
    if isinstance(energy, RectifiedPolynomial):
        # The sum of K powers of n, and its rounding, under the n-th root.
        blur = 2 * rounding(unit, K + 4 * math.ceil(energy.n) + 16)
        kappa = math.exp((math.log(K) + blur) / energy.n) * (1 + 2.0**-45)
        power = energy.n
        # Rectified: the score of no active memory is 0, a rival of its own.
        A = np.vstack([A, np.zeros(N)])
        b = np.vstack([b, np.zeros(b.shape[1])])
        overlap_error = np.append(overlap_error, 0.0)
        shift_error = np.append(shift_error, 1e-35)
    elif isinstance(energy, Exponential):
        off = 2 * rounding(unit, K + 64) + 4 * unit * energy.beta * float((mass + shifts).max())
        extra = (math.log(K) + off) / energy.beta * (1 + 2.0**-45)
    elif not isinstance(energy, Largest):
        raise InputError(f"energy = {energy}: no bound is known for it")
    return Fields(A, b, overlap_error, shift_error, kappa, extra, power, blur)


def _nearest(model: NearestNeighbour, A: Array, unit: float) -> Fields:
    labels = model.class_memories.detach().argmax(dim=1).cpu().numpy()
    K, N = A.shape
    b = np.full((K, model.n_classes), -math.inf)
    half = (A**2).sum(axis=1) / 2 if model.metric == "l2" else np.zeros(K)
    b[np.arange(K), labels] = -half
    off = rounding(unit, N + 8) + 2.0**-48
    mass = 2 * (np.abs(A).sum(axis=1) + half)  # the choice within a class, and the score of it
    mass += ((1 + np.abs(A)) ** 2).sum(axis=1) / 2
    return Fields(A, b, off * mass + 1e-35, np.zeros(K), 1.0, 0.0, math.inf, 0.0)


def lipschitz_constant(fields: Fields, lengths: Array, norm: str) -> float:
    """Return a Lipschitz constant of all scores: ||A||_(2 -> n) between those of n = 2 and inf.

    Args:
        fields: of the model.
        lengths: (K,) dual norms of its memories, rounded up.
        norm: "l2" or "linf".
    """
    largest, n = float(lengths.max()), fields.power
    if math.isinf(n):
        return largest
    if norm == "linf" or n < 2:
        return largest * float(len(lengths) ** (1 / n))
    square, log = fields.A.T @ fields.A, 0.0
    for p in range(7):  # ||M||^(2^p) <= || M^(2^p) ||_F, the Frobenius norm
        scale = float(np.linalg.norm(square)) or 1.0
        log, square = log + math.log(scale) / 2**p, (square / scale) @ (square / scale)
    spectral = math.exp(log / 2) * (1 + 1e-9)
    return float(spectral ** (2 / n) * largest ** (1 - 2 / n))


def front_bounds(front: nn.Module) -> tuple[float, float] | None:
    """Return how much a front may lengthen an L2 distance, and its rounding; None without a front.

    A front says both: ``lipschitz``, and ``rounding``, the largest L2 distance between its outputs
    as computed and in exact arithmetic, for inputs no farther from 0 than three times an image may
    be.

    Raises:
        InputError: for a front that lacks one of them.
    """
    if isinstance(front, nn.Identity):
        return None
    for name, words in (
        ("lipschitz", "the largest factor by which it lengthens a distance"),
        ("rounding", "the largest L2 error of its outputs as computed"),
    ):
        if getattr(front, name, None) is None:
            raise InputError(
                f"the front {type(front).__name__} has no number `{name}`: a certificate for its "
                f"inputs needs {words}"
            )
    return (
        number("lipschitz", front.lipschitz, above=0), number("rounding", front.rounding, least=0)
    )  # fmt: skip


def array(values: Tensor) -> Array:
    """Return a tensor as a float64 array."""
    return np.asarray(values.detach().double().cpu().numpy(), dtype=np.float64)

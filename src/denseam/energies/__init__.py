"""Energy functions F of the fields of memories (Eq. 2.2).

To add one: a subclass of ``EnergyFunction``, or of ``Homogeneous`` where it is a power, in a file
of its own, and its row in ``FUNCTIONS``. It then trains, is saved, attacked, explained and
exported by the back end in plain PyTorch; ``EnergyFunction`` says which files make it fast.
"""

from functools import cache

from denseam.energies.base import EnergyFunction, Homogeneous
from denseam.energies.exponential import Exponential
from denseam.energies.largest import Largest
from denseam.energies.polynomial import (
    MOST_POWER,
    Polynomial,
    RectifiedPolynomial,
    rectified_polynomial,
    rectified_polynomial_slope,
)
from denseam.energies.sparse import Entmax, LogSumReLU
from denseam.errors import InputError

__all__ = [
    "FUNCTIONS",
    "MOST_POWER",
    "RETRIEVAL",
    "EnergyFunction",
    "Entmax",
    "Exponential",
    "Homogeneous",
    "Largest",
    "LogSumReLU",
    "Polynomial",
    "RectifiedPolynomial",
    "as_function",
    "by_name",
    "rectified_polynomial",
    "rectified_polynomial_slope",
]

FUNCTIONS: dict[str, type[EnergyFunction]] = {
    function.name: function for function in (RectifiedPolynomial, Exponential, Largest)
}
"""Every energy function that can be saved and trained, by its name."""

RETRIEVAL: dict[str, type[EnergyFunction] | type[Entmax]] = {
    Polynomial.name: Polynomial,
    LogSumReLU.name: LogSumReLU,
    Entmax.name: Entmax,
}
"""Energies that retrieve memories only, see ``AssociativeMemory``; those above do so, too."""


def as_function(energy: EnergyFunction | float) -> EnergyFunction:
    """Return an energy function itself, or the rectified polynomial of a power n.

    Raises:
        InputError: for anything else.
    """
    return energy if isinstance(energy, EnergyFunction) else RectifiedPolynomial(energy)


def by_name(name: str, parameters: tuple[float, ...]) -> EnergyFunction:
    """Return the function of a row of ``FUNCTIONS``, with its ``parameters``.

    Raises:
        InputError: for an unknown name, or parameters out of range.
    """
    if name not in FUNCTIONS:
        raise InputError(f"energy = {name!r}: wanted {', '.join(FUNCTIONS)}")
    return _function(FUNCTIONS[name], parameters)


@cache
def _function(kind: type[EnergyFunction], parameters: tuple[float, ...]) -> EnergyFunction:
    return kind(*parameters)

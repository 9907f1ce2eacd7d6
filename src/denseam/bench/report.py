"""The speed table: what is measured, and the record of it."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from denseam.bench.steps import STEPS, Problem, Step, products_alone
from denseam.bench.timing import milliseconds, peak_bytes
from denseam.errors import DenseAMError
from denseam.kernels import autograd, by_name
from denseam.kernels.products import PRODUCTS, default_product
from denseam.training.environment import processor
from denseam.version import __version__

__all__ = [
    "CASES",
    "Case",
    "InferenceRow",
    "StepRow",
    "check_alike",
    "environment",
    "measure_inference",
    "measure_step",
]

PRODUCTS_ALONE = "products"
N_VISIBLE = 784


@dataclass(frozen=True)
class Case:
    """The sizes of one row of the table."""

    power: float
    K: int = 2000
    C: int = 10
    B: int = 1000


# The paper's sizes for each of its powers; then fewer and more memories, and more classes.
CASES = [*map(Case, (2, 3, 20, 30)), Case(30, K=200), Case(30, K=20000), Case(30, C=100)]
# Largest mean difference of moves, relative; 1e-3 for all others.
_ALIKE = {"8-bit": 5e-3, "tf32": 5e-3, "bfloat16": 5e-3}
# Where (B, K, C) floats are 800 MB, the forms that hold several such arrays are left out.
_LARGE, _HUNGRY = 100_000_000, ("autograd", "compiled", "nips16")


@dataclass(frozen=True)
class StepRow:
    """One training step in every form."""

    case: Case
    milliseconds: dict[str, float]  # by form; "products" is the two matrix products alone
    peak_floats: float  # of the cpu step, in units of (B K + K N) floats

    @property
    def to_products(self) -> float:
        """Time of the cpu step over that of the two products alone."""
        return self.milliseconds["cpu"] / self.milliseconds[PRODUCTS_ALONE]

    def speedup(self, form: str) -> float | None:
        """How many times faster than another form the cpu step is."""
        other = self.milliseconds.get(form)
        return None if other is None else other / self.milliseconds["cpu"]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "to_products": self.to_products}


@dataclass(frozen=True)
class InferenceRow:
    """Labels for many images."""

    power: float
    n_images: int
    milliseconds: dict[str, float]  # "cpu", and "products": its one matrix product alone
    peak_floats: float  # in units of (B K + K N) floats

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def measure_step(case: Case, rounds: int) -> StepRow:
    """Time a training step in every form, side by side."""
    problem = Problem.random(case.B, case.K, N_VISIBLE, case.C, case.power)
    forms = [f for f in STEPS if case.B * case.K * case.C < _LARGE or f not in _HUNGRY]
    check_alike(problem, {form: STEPS[form] for form in forms})
    steps = {PRODUCTS_ALONE: products_alone(problem)}
    steps.update({form: STEPS[form](problem.copy()) for form in forms})
    times = milliseconds(steps, rounds)
    unit = 4 * (case.B * case.K + case.K * N_VISIBLE)
    return StepRow(case, times, peak_bytes(steps["cpu"]) / unit)


def measure_inference(power: float, rounds: int, n_images: int = 10_000) -> InferenceRow:
    """Time labels for many images beside the matrix product that they need."""
    problem = Problem.random(n_images, 2000, N_VISIBLE, 10, power)
    memories = problem.memories
    dense = memories[:, :N_VISIBLE].contiguous()
    multiply = PRODUCTS[default_product()]

    def predict() -> object:
        return autograd.decide(problem.visible, memories, power)

    def product() -> None:
        for start in range(0, n_images, autograd.CHUNK):
            multiply(dense, problem.visible[start : start + autograd.CHUNK])

    times = milliseconds({"cpu": predict, PRODUCTS_ALONE: product}, rounds)
    unit = 4 * (n_images * 2000 + 2000 * N_VISIBLE)
    return InferenceRow(power, n_images, times, peak_bytes(predict) / unit)


def environment() -> dict[str, str | int]:
    """The machine and the versions behind the numbers."""
    kernel = by_name("cpu")
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "denseam": __version__,
        "python": platform.python_version(),
        "product": getattr(kernel, "product", "torch"),
    }


def check_alike(problem: Problem, steps: Mapping[str, Callable[[Problem], Step]]) -> None:
    """No speed is reported for a step that does something else.

    Raises:
        DenseAMError: for a step that moves the memories otherwise than "reference" does.
    """
    moved = {}
    for form, step in steps.items():
        copy = problem.copy()
        step(copy)()
        moved[form] = copy.memories.detach() - problem.memories
    for form, move in moved.items():
        # A memory's largest component moves by the learning rate, whatever its gradient: float32
        # noise in tiny gradients is amplified there, so compare in the mean.
        difference = float((move - moved["reference"]).abs().mean())
        if difference > _ALIKE.get(form, 1e-3) * float(moved["reference"].abs().mean()):
            raise DenseAMError(f"bench: the step of {form!r} moves memories by something else")

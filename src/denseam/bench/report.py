"""Rows of the speed table, and how they are measured."""

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import torch

from denseam.bench.steps import STEPS, Problem, Step, kernel_step, products_alone
from denseam.bench.timing import milliseconds, peak_bytes
from denseam.data import Dataset
from denseam.errors import DenseAMError
from denseam.kernels import autograd, by_name, choose
from denseam.kernels.products import FORMS, default_product
from denseam.training import Recipe, train
from denseam.training.environment import processor
from denseam.version import __version__

Row = dict[str, Any]  # of JSON values

CPU = torch.device("cpu")
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
# With 100 million numbers of (B, K, C) and more, forms that hold several such arrays are left out.
_LARGE, _HUNGRY = 100_000_000, ("autograd", "compiled", "nips16")


def forms_on(device: torch.device) -> dict[str, Callable[[Problem], Step]]:
    """Return the forms of a step that run on a device, denseam's own first."""
    if device.type == "cpu":
        return STEPS
    kernels = {name: partial(kernel_step, name) for name in ("triton", "tf32", "bfloat16")}
    return kernels | {name: STEPS[name] for name in ("reference", "autograd", "compiled")}


def measure_step(case: Case, rounds: int, device: torch.device = CPU) -> Row:
    """Time a training step in every form, side by side.

    Returns:
        ``case``; ``milliseconds`` by form, of the two matrix products alone first, then of
        denseam's step, then of others; ``peak_floats`` of denseam's step, in units of (B K + K N)
        floats; ``to_products``, its time over that of the products.
    """
    problem = Problem.random(case.B, case.K, N_VISIBLE, case.C, case.power).to(device)
    large = case.B * case.K * case.C >= _LARGE
    forms = {
        form: make for form, make in forms_on(device).items() if not large or form not in _HUNGRY
    }
    check_alike(problem, forms)
    alone = products_alone if device.type == "cpu" else _products_on_card
    steps = {PRODUCTS_ALONE: alone(problem)}
    steps.update({form: make(problem.copy()) for form, make in forms.items()})
    times = milliseconds(steps, rounds, device=device)
    unit = 4 * (case.B * case.K + case.K * N_VISIBLE)
    ours = next(iter(forms))
    return {
        "case": asdict(case),
        "milliseconds": times,
        "peak_floats": peak_bytes(steps[ours], device) / unit,
        "to_products": times[ours] / times[PRODUCTS_ALONE],
    }


def _products_on_card(problem: Problem) -> Step:
    """Return overlaps and memory gradient only, by cuBLAS in float32."""
    memories = problem.memories[:, : problem.visible.shape[1]].contiguous()
    weights = torch.randn(len(memories), len(problem.visible), device=memories.device)
    return lambda: (memories @ problem.visible.T, weights @ problem.visible)


def measure_training(
    dataset: Dataset, epochs: int, products: str, device: torch.device, power: float = 30
) -> Row:
    """Time a training by the paper's recipe, with the test error after every epoch.

    Nothing is written. An epoch before the timed training compiles the kernels.
    """
    recipe = Recipe.paper(power, epochs).replace(products=products)
    train(recipe.replace(epochs=1), dataset, device=device, progress=False)
    start = time.perf_counter()
    last = train(recipe, dataset, device=device, progress=False).records[-1]
    seconds = time.perf_counter() - start
    return {
        "power": power, "epochs": epochs, "products": products, "seconds": seconds,
        "train_error": last.train_error, "test_error": last.test_error,
    }  # fmt: skip


def measure_inference(power: float, rounds: int, n_images: int = 10_000) -> Row:
    """Time labels for many images, and the matrix product that they need."""
    problem = Problem.random(n_images, 2000, N_VISIBLE, 10, power)
    memories = problem.memories
    dense = memories[:, :N_VISIBLE].contiguous()
    multiply = FORMS[default_product()]

    def predict() -> object:
        return autograd.labels(problem.visible, memories, power)

    def product() -> None:
        for start in range(0, n_images, autograd.CHUNK):
            multiply(dense, problem.visible[start : start + autograd.CHUNK])

    times = milliseconds({"cpu": predict, PRODUCTS_ALONE: product}, rounds)
    unit = 4 * (n_images * 2000 + 2000 * N_VISIBLE)
    return {
        "power": power, "n_images": n_images, "milliseconds": times,
        "peak_floats": peak_bytes(predict) / unit,
    }  # fmt: skip


def environment(device: torch.device = CPU) -> dict[str, Any]:
    """Return the machine and the versions behind the numbers."""
    facts = {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "denseam": __version__,
        "python": platform.python_version(),
        "product": getattr(by_name("cpu"), "product", "torch"),
    }
    if device.type == "cpu":
        return facts
    card, choice = torch.cuda.get_device_properties(device), choose(device)
    return facts | {
        "card": card.name,
        "multiprocessors": card.multi_processor_count,
        "capability": f"{card.major}.{card.minor}",
        "memory_gib": round(card.total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
        "triton": version("triton"),
        "kernel": choice.kernel.name,
        "reason": choice.reason,
    }


def check_alike(problem: Problem, steps: Mapping[str, Callable[[Problem], Step]]) -> None:
    """Refuse to time steps that do something else.

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

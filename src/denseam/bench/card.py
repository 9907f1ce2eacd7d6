"""The speed of a graphics card: what `denseam bench --device cuda` measures.

Times are those of CUDA events around many steps in a row, so that launching them counts as far as
it is slower than running them. All forms take turns, as in ``timing``.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

import torch

from denseam.bench.report import Case, check_alike
from denseam.bench.steps import RULE, STEPS, Problem, Step, kernel_step
from denseam.data import Dataset
from denseam.kernels import by_name, choose
from denseam.training import Recipe, train
from denseam.training.graph import ResidentSteps
from denseam.version import __version__

if TYPE_CHECKING:
    from denseam.kernels.triton import TritonKernel

__all__ = ["CardRow", "TrainingRow", "card_environment", "measure_card_step", "measure_training"]

PRODUCTS = ("full", "tf32", "bfloat16")
OTHERS = ("reference", "autograd", "compiled")
_REPEATS = 20  # steps between two events


@dataclass(frozen=True)
class CardRow:
    """One training step in every form, in milliseconds."""

    case: Case
    milliseconds: dict[str, float]  # "full", "tf32", "bfloat16": as training plays them
    launched: float  # the "full" step without a CUDA graph
    products: dict[str, float]  # the two matrix products alone, by cuBLAS

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        full = self.milliseconds["full"]
        ratios = {
            "to_products": {
                form: {name: self.milliseconds[form] / ms for name, ms in self.products.items()}
                for form in PRODUCTS
            },
            "speedup": {form: self.milliseconds[form] / full for form in OTHERS},
        }
        return {**asdict(self), **ratios}


@dataclass(frozen=True)
class TrainingRow:
    """A whole training."""

    power: float
    epochs: int
    products: str
    seconds: float
    train_error: float
    test_error: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def measure_card_step(case: Case, rounds: int, device: torch.device) -> CardRow:
    """Time a training step in every form, after all of them have moved memories alike."""
    problem = Problem.random(case.B, case.K, 784, case.C, case.power).to(device)
    others: dict[str, Callable[[Problem], Step]] = {form: STEPS[form] for form in OTHERS}
    stored = {form: partial(resident_step, products=form, store=True) for form in PRODUCTS}
    check_alike(problem, {**others, **stored})
    made = {form: step(problem.copy()) for form, step in others.items()}
    made.update({form: resident_step(problem.copy(), form) for form in PRODUCTS})
    made["launched"] = kernel_step(by_name("triton"), problem.copy())
    products = {f"products {name}": products_on_card(problem, name) for name in PRODUCTS}
    times = card_milliseconds({**made, **products}, rounds, device)
    return CardRow(
        case, {form: times[form] for form in (*PRODUCTS, *OTHERS)}, times["launched"],
        {name: times[f"products {name}"] for name in PRODUCTS},
    )  # fmt: skip


def resident_step(problem: Problem, products: str, *, store: bool = False) -> Step:
    """A step as training plays it; with ``store``, what it does is put into the problem."""
    name = "triton" if products == "full" else products
    device = problem.visible.device
    order = torch.arange(len(problem.visible), device=device)[None]
    steps = ResidentSteps(
        cast("TritonKernel", by_name(name)), problem.visible, problem.labels,
        shape=problem.memories.shape, batches=(1, order.shape[1]),
        power=problem.power, loss_power=problem.loss_power,
    )  # fmt: skip
    state = problem.memories, problem.velocity
    steps.load(order, *state, temperature=problem.temperature, rule=RULE)

    def stored() -> None:
        steps.play()
        steps.store(*state)

    return stored if store else steps.play


def products_on_card(problem: Problem, products: str) -> Step:
    """Overlaps and memory gradient only, by cuBLAS, from operands of that precision."""
    memories = problem.memories[:, : problem.visible.shape[1]].contiguous()
    weights = torch.randn(len(memories), len(problem.visible), device=memories.device)
    visible = problem.visible
    if products == "bfloat16":
        memories, weights, visible = memories.bfloat16(), weights.bfloat16(), visible.bfloat16()

    def step() -> None:
        with precision("high" if products == "tf32" else "highest"):
            torch.mm(memories, visible.T)
            torch.mm(weights, visible)

    return step


@contextmanager
def precision(name: str) -> Iterator[None]:
    """The process's float32 products at another precision: cuBLAS has no other switch."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def card_milliseconds(
    steps: Mapping[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, float]:
    """Median time of a step, in milliseconds, over rounds in which all take turns."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        for _ in range(3):
            step()
    with torch.cuda.device(device):
        for _ in range(rounds):
            for name, step in steps.items():
                start, end = _event(), _event()
                step()
                start.record()
                for _ in range(_REPEATS):
                    step()
                end.record()
                end.synchronize()
                found[name].append(start.elapsed_time(end) / _REPEATS)
    return {name: statistics.median(times) for name, times in found.items()}


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def measure_training(
    dataset: Dataset, epochs: int, products: str, device: torch.device, power: float = 30
) -> TrainingRow:
    """Seconds of a training by the paper's recipe, the test error after every epoch included.

    Nothing is written; compiling is not counted: an epoch on the side comes first.
    """
    recipe = Recipe.paper(power, epochs).replace(products=products)
    train(recipe.replace(epochs=1), dataset, device=device)
    start = time.perf_counter()
    records = train(recipe, dataset, device=device).records
    seconds = time.perf_counter() - start
    last = records[-1]
    return TrainingRow(power, epochs, products, seconds, last.train_error, last.test_error)


def card_environment(device: torch.device) -> dict[str, Any]:
    """The card and the versions behind the numbers, and which kernels run there and why."""
    facts = torch.cuda.get_device_properties(device)
    chosen = choose(device)
    return {
        "card": facts.name,
        "multiprocessors": facts.multi_processor_count,
        "capability": f"{facts.major}.{facts.minor}",
        "memory_gib": round(facts.total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
        "triton": version("triton"),
        "denseam": __version__,
        "kernel": chosen.kernel.name,
        "reason": chosen.reason,
    }

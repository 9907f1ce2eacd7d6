"""The speed of a graphics card: docs/gpu.md.

    python benchmarks/card.py --train --save benchmarks/results

A training step is timed as training plays it, from a CUDA graph, by full, TF32 and bfloat16
products; launched operation by operation; and compared with plain PyTorch and its two matrix
products alone. `denseam bench --device cuda` times launched steps only. With --save each row is
kept as soon as it is measured, under the card's name and the date.

Times are those of CUDA events around many steps in a row, so that launching them counts as far as
it is slower than running them. All forms take turns, as in ``denseam.bench.timing``.
"""

import argparse
import json
import re
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tables import markdown

from denseam import data
from denseam.bench import CASES, Row, environment, measure_crossing, measure_training
from denseam.bench.report import Case, check_alike
from denseam.bench.steps import RULE, STEPS, Problem, Step, kernel_step
from denseam.energies import as_function
from denseam.files import write_json
from denseam.kernels import Paper, by_name, choose
from denseam.pretrained import load_any
from denseam.training.graph import ResidentSteps

PRODUCTS = ("full", "tf32", "bfloat16")
OTHERS = ("reference", "autograd", "compiled")
LARGEST = 100_000_000  # B K C: plain PyTorch holds several arrays of as many floats
REPEATS = 20  # steps between two events


@dataclass(frozen=True)
class CardRow:
    """One training step in every form, in milliseconds."""

    case: Case
    milliseconds: dict[str, float]  # "full", "tf32", "bfloat16": as training plays them
    launched: float  # the "full" step without a CUDA graph
    products: dict[str, float]  # the two matrix products alone, by cuBLAS

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        full = self.milliseconds["full"]
        ratios = {
            "to_products": {
                form: {name: self.milliseconds[form] / ms for name, ms in self.products.items()}
                for form in PRODUCTS
            },
            "speedup": {form: self.milliseconds[form] / full for form in OTHERS},
        }
        return {**asdict(self), **ratios}


def measure_card_step(case: Case, rounds: int, device: torch.device) -> CardRow:
    """Time a training step in every form, after all of them have moved memories alike."""
    problem = Problem.random(case.B, case.K, 784, case.C, case.power).to(device)
    others: dict[str, Callable[[Problem], Step]] = {form: STEPS[form] for form in OTHERS}
    stored = {form: partial(resident_step, products=form, store=True) for form in PRODUCTS}
    check_alike(problem, {**others, **stored})
    steps = {form: step(problem.copy()) for form, step in others.items()}
    steps.update({form: resident_step(problem.copy(), form) for form in PRODUCTS})
    steps["launched"] = kernel_step("triton", problem.copy())
    products = {f"products {name}": products_on_card(problem, name) for name in PRODUCTS}
    times = card_milliseconds({**steps, **products}, rounds, device)
    return CardRow(
        case, {form: times[form] for form in (*PRODUCTS, *OTHERS)}, times["launched"],
        {name: times[f"products {name}"] for name in PRODUCTS},
    )  # fmt: skip


def resident_step(problem: Problem, products: str, *, store: bool = False) -> Step:
    """Return a step as training plays it; with ``store`` it changes the problem, too."""
    name = "triton" if products == "full" else products
    device = problem.visible.device
    order = torch.arange(len(problem.visible), device=device)[None]
    steps = ResidentSteps(
        by_name(name), problem.visible, problem.labels,
        shape=problem.memories.shape, batches=(1, order.shape[1]),
        F=as_function(problem.power), objective=Paper(problem.loss_power),
    )  # fmt: skip
    state = problem.memories, problem.velocity
    steps.load(order, *state, temperature=problem.temperature, rule=RULE)

    def stored() -> None:
        steps.play()
        steps.store(*state)

    return stored if store else steps.play


def products_on_card(problem: Problem, products: str) -> Step:
    """Return overlaps and memory gradient only, by cuBLAS, from operands of that precision."""
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
    """Set the precision of the process's float32 products: cuBLAS has no other switch."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def card_milliseconds(
    steps: Mapping[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, float]:
    """Return the median time of each step over rounds in which all take turns, milliseconds."""
    measured: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        for _ in range(3):
            step()
    with torch.cuda.device(device):
        for _ in range(rounds):
            for name, step in steps.items():
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                step()
                start.record()
                for _ in range(REPEATS):
                    step()
                end.record()
                end.synchronize()
                measured[name].append(start.elapsed_time(end) / REPEATS)
    return {name: statistics.median(times) for name, times in measured.items()}


def steps_table(rows: list[CardRow]) -> str:
    """Return microseconds of every form as a table."""
    lines = []
    for row in rows:
        times = {**row.milliseconds, "launched": row.launched}
        times |= {f"products {name}": ms for name, ms in row.products.items()}
        sizes = [f"{row.case.power:g}", str(row.case.K), str(row.case.C)]
        lines.append([*sizes, *(f"{1000 * ms:.0f}" for ms in times.values())])
    return markdown(["n", "K", "C", *times], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--models", nargs="+", default=["mnist-n30"])
    parser.add_argument("--images", type=int, default=10_000, help="that cross boundaries")
    parser.add_argument("--train", action="store_true", help="also a whole training at n = 30")
    parser.add_argument("--epochs", type=int, default=3000, help="of that training")
    parser.add_argument("--products", choices=PRODUCTS, default="full", help="of that training")
    parser.add_argument("--save", type=Path, help="folder for the record")
    options = parser.parse_args()
    device = torch.device(options.device)
    chosen = choose(device)
    if chosen.kernel.name != "triton":
        raise SystemExit(f"no kernels for {options.device}: {chosen.reason}")
    facts = environment(device)
    record: dict[str, Any] = {"environment": facts, "steps": [], "crossings": [], "trainings": []}
    name = re.sub(r"[^a-z0-9]+", "-", facts["card"].lower()).strip("-")
    file = f"{name}-{datetime.now(tz=UTC):%Y%m%dT%H%M%SZ}.json"

    def keep(kind: str, row: Row) -> None:
        record[kind].append(row)
        if options.save is not None:
            write_json(options.save / file, record)

    rows = []
    for case in CASES:
        if case.B * case.K * case.C < LARGEST:
            rows.append(measure_card_step(case, options.rounds, device))
            keep("steps", rows[-1].to_json())
    dataset = data.load("mnist")
    visible = dataset.test.visible()[: options.images].to(device)
    for model in options.models:
        keep("crossings", measure_crossing(load_any(model, device=options.device), visible))
    if options.train:
        keep("trainings", measure_training(dataset, options.epochs, options.products, device))
    print(steps_table(rows))
    print(json.dumps(record))


if __name__ == "__main__":
    main()

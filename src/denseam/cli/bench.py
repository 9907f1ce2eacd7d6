"""denseam bench: measure the speed of training, inference and descent on this machine.

All forms take turns in one run; times are medians, in milliseconds. With models,
also how many images a second are led across their boundaries. The last line of the
output is the whole record as JSON.

Examples:
    denseam bench
    denseam bench --rounds 50
    denseam bench --models mnist-n2 mnist-n30 runs/n20
    denseam bench --threads 1 --json
    denseam bench --device cuda
    denseam bench --device cuda --train --save benchmarks/results
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from rich.table import Table

from denseam import data
from denseam.bench import (
    CASES,
    InferenceRow,
    IterationRow,
    StepRow,
    environment,
    measure_crossing,
    measure_inference,
    measure_iteration,
    measure_step,
)
from denseam.checks import whole
from denseam.classifier import check_device
from denseam.cli import bench_card
from denseam.cli.common import print_json, stdout, table
from denseam.cli.progress import counted
from denseam.errors import InputError
from denseam.pretrained import load_any

_FORMS = ("8-bit", "reference", "autograd", "compiled", "nips16")
_SHORT = ("8-bit", "ref", "auto", "comp", "nips16")
_LEGEND = """\
prod    the two float32 matrix products of a step alone, by the fastest library here
cpu     denseam's step, as `denseam train` does it; ratio: to the products
8-bit   the same by 8-bit products, `denseam train --products 8-bit`
peak    memory of that step in units of (B K + K N) floats
ref     denseam's kernels in plain PyTorch     auto    the equations typed into PyTorch
comp    torch.compile of those                 nips16  the matrix form of NIPS16 in NumPy"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--rounds", type=int, default=15, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, help="of PyTorch (default: as PyTorch chooses)")
    parser.add_argument(
        "--models", metavar="MODEL", nargs="+", default=[],
        help="to lead MNIST images across boundaries",
    )  # fmt: skip
    parser.add_argument(
        "--images", type=int, help="how many of them: by default 1000, on a card 10000"
    )
    parser.add_argument(
        "--train", action="store_true",
        help="on a card: also the seconds of a whole training at n = 30",
    )  # fmt: skip
    parser.add_argument(
        "--epochs", type=int, default=3000, help="of that training (default: %(default)s)"
    )
    parser.add_argument(
        "--products", choices=["full", "tf32", "bfloat16"], default="full",
        help="of that training (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--save", metavar="FOLDER", type=Path,
        help="on a card: keep the record there, under the card's name and the date",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Measure, print the tables, end with a line of JSON."""
    for name in ("rounds", "images", "threads"):
        if getattr(args, name) is not None:
            whole(name, getattr(args, name))
    device = check_device(args.device)
    if device.type == "cuda":
        return bench_card.run(args, device)
    if device.type != "cpu":
        raise InputError(f"--device {args.device}: wanted cpu or cuda, whose kernels are ours")
    if args.train or args.save:
        raise InputError("--train and --save: only with --device cuda")
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    models = [load_any(name, device=args.device) for name in args.models]
    steps = [measure_step(case, args.rounds) for case in counted(CASES, "training steps")]
    inference = [measure_inference(power, args.rounds) for power in counted((2, 30), "inference")]
    iterations = [measure_iteration(power, args.rounds) for power in counted((2, 30), "descent")]
    crossings = []
    if models:
        visible = data.load("mnist").test.visible()[: args.images or 1000]
        crossings = [measure_crossing(model, visible) for model in counted(models, "boundaries")]
    facts = environment()
    record = {
        "environment": facts,
        "steps": [row.to_json() for row in steps],
        "inference": [row.to_json() for row in inference],
        "iterations": [row.to_json() for row in iterations],
        "crossings": [row.to_json() for row in crossings],
    }
    if args.json:
        print_json(record)
        return 0
    stdout.print(f"{facts['processor']}, {facts['threads']} threads, torch {facts['torch']}")
    stdout.print(_step_table(steps))
    stdout.print(_LEGEND)
    stdout.print(_inference_table(inference))
    stdout.print(_iteration_table(iterations))
    if crossings:
        stdout.print(bench_card.crossing_table(crossings))
    sys.stdout.write(json.dumps(record) + "\n")
    return 0


def _step_table(rows: list[StepRow]) -> Table:
    cells = []
    for row in rows:
        ms = row.milliseconds
        others = [_times(row.speedup(form)) for form in _FORMS]
        cells.append([
            f"{row.case.power:g}", f"{row.case.K}", f"{row.case.C}", f"{ms['products']:.1f}",
            f"{ms['cpu']:.1f}", f"{row.to_products:.2f}", f"{row.peak_floats:.2f}", *others,
        ])  # fmt: skip
    title = "one training step, B = 1000, N = 784: ms, and by how much cpu is faster"
    return table(title, ("n", "K", "C", "prod", "cpu", "ratio", "peak", *_SHORT), cells)


def _times(speedup: float | None) -> str:
    if speedup is None:
        return "-"
    return f"{speedup:.1f}x" if speedup < 10 else f"{speedup:.0f}x"


def _inference_table(rows: list[InferenceRow]) -> Table:
    cells = []
    for row in rows:
        alone, cpu = row.milliseconds["products"], row.milliseconds["cpu"]
        ratio, peak = f"{cpu / alone:.2f}", f"{row.peak_floats:.2f}"
        cells.append([f"{row.power:g}", f"{alone:.0f}", f"{cpu:.0f}", ratio, peak])
    title = "labels of 10,000 images, K = 2000; the product is its one matrix product"
    return table(title, ("n", "product", "cpu", "/ product", "peak"), cells)


def _iteration_table(rows: list[IterationRow]) -> Table:
    cells = []
    for row in rows:
        times = [f"{row.milliseconds[name]:.1f}" for name in ("kernels", "iteration")]
        cells.append([f"{row.power:g}", *times, f"{row.to_kernels:.2f}"])
    title = "one iteration of Eq. 3.2 on 1000 images, beside its kernels"
    return table(title, ("n", "kernels", "iteration", "/ kernels"), cells)

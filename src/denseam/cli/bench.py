"""denseam bench: measure the speed of training, inference and descent on this machine.

All forms take turns in one run; times are medians, in milliseconds. With models,
also how many images per second cross their boundaries. The last line of the output
is the whole record as JSON.

On a card: steps, boundaries and training, without inference and descent. Steps are
launched one by one there; a training replays them as a CUDA graph, in a half to a
third of the time (docs/gpu.md).

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
import re
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import torch

from denseam import data
from denseam.bench import (
    CASES,
    Row,
    environment,
    measure_crossing,
    measure_inference,
    measure_iteration,
    measure_step,
    measure_training,
)
from denseam.checks import whole
from denseam.classifier import check_device
from denseam.cli.common import print_json, stdout
from denseam.cli.flags import add_flags, from_fields
from denseam.cli.progress import counted
from denseam.cli.tables import FittedTable
from denseam.errors import InputError
from denseam.files import write_json
from denseam.kernels import choose
from denseam.pretrained import load_any
from denseam.training import Recipe

T = TypeVar("T")

_SHORT = {
    "8-bit": "8-bit", "tf32": "tf32", "bfloat16": "bf16", "reference": "ref", "autograd": "auto",
    "compiled": "comp", "nips16": "nips16",
}  # fmt: skip
_LEGEND = """\
prod        the two float32 matrix products of a step alone, by the fastest library here
cpu         denseam's step, as `denseam train` does it; triton: the same on a card
ratio       its time to that of the products
peak        its memory in units of (B K + K N) floats
8-bit, tf32, bf16   the same step by coarser products, `denseam train --products`
ref         denseam's kernels in plain PyTorch     auto    the equations typed into PyTorch
comp        torch.compile of those                 nips16  the matrix form of NIPS16 in NumPy"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--rounds", type=int, default=15, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, help="of PyTorch (default: as PyTorch chooses)")
    parser.add_argument(
        "--models", metavar="MODEL", nargs="+", default=[],
        help="whose boundaries MNIST images cross: by default none, on a card mnist-n30",
    )  # fmt: skip
    parser.add_argument(
        "--images", type=int, help="how many of them: by default 1000, on a card 10000"
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--train", action="store_true",
        help="also measure the seconds of a whole training at n = 30",
    )  # fmt: skip
    add_flags(training, from_fields(Recipe, "epochs", "products"), filled=True)
    parser.add_argument(
        "--save", metavar="FOLDER", type=Path,
        help="keep the record there, under the machine's name and the date",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Measure, print the tables, end with a line of JSON."""
    for name in ("rounds", "images", "threads"):
        if getattr(args, name) is not None:
            whole(name, getattr(args, name))
    device = check_device(args.device)
    on_card = device.type != "cpu"
    if on_card and (choice := choose(device)).kernel.name == "reference":
        raise InputError(f"--device {args.device}: denseam has no kernels there: {choice.reason}")
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    facts = environment(device)
    keep = _Record(facts, args.save)
    tables = _measured(args, device, keep)
    if args.json:
        print_json(keep.record)
        return 0
    machine = facts.get("card", f"{facts['processor']}, {facts['threads']} threads")
    stdout.print(f"{machine}, torch {facts['torch']}")
    for each in tables:
        stdout.print(each)
    sys.stdout.write(json.dumps(keep.record) + "\n")
    return 0


def _measured(
    args: argparse.Namespace, device: torch.device, keep: "_Record"
) -> list[FittedTable | str]:
    """Measure everything that was asked for, and return it as tables."""
    on_card, rounds = device.type != "cpu", args.rounds
    names = args.models or (["mnist-n30"] if on_card else [])
    models = [load_any(name, device=args.device) for name in names]
    steps = keep("steps", "training steps", CASES, lambda case: measure_step(case, rounds, device))
    tables: list[FittedTable | str] = [_step_table(steps), _LEGEND]
    if not on_card:
        powers = (2, 30)
        inference = keep("inference", "inference", powers, lambda n: measure_inference(n, rounds))
        iterations = keep("iterations", "descent", powers, lambda n: measure_iteration(n, rounds))
        tables += [_inference_table(inference), _iteration_table(iterations)]
    if models:
        count = args.images or (10_000 if on_card else 1000)
        visible = data.load("mnist").test.visible()[:count].to(device)
        crossings = keep(
            "crossings", "boundaries", models, lambda model: measure_crossing(model, visible)
        )
        tables.append(_crossing_table(crossings))
    if args.train:
        dataset = data.load("mnist")
        (row,) = keep(
            "trainings", "training", [args.products],
            lambda products: measure_training(dataset, args.epochs, products, device),
        )  # fmt: skip
        tables.append(_training_line(row))
    return tables


class _Record:
    """A record that is written after every row: what was measured before a stop is kept."""

    def __init__(self, facts: dict[str, Any], folder: Path | None) -> None:
        parts = ("steps", "inference", "iterations", "crossings")
        self.record: dict[str, Any] = {"environment": facts, **{part: [] for part in parts}}
        machine = re.sub(r"[^a-z0-9]+", "-", facts.get("card", facts["processor"]).lower())
        name = f"{machine.strip('-')}-{datetime.now(tz=UTC):%Y%m%dT%H%M%SZ}.json"
        self.path = None if folder is None else folder / name

    def __call__(
        self, part: str, title: str, items: Iterable[T], measure: Callable[[T], Row]
    ) -> list[Row]:
        """Measure each item, keep its row, and return all rows."""
        rows: list[Row] = self.record.setdefault(part, [])
        for item in counted(items, title):
            rows.append(measure(item))
            if self.path is not None:
                write_json(self.path, self.record)
        return rows


def _step_table(rows: list[Row]) -> FittedTable:
    ours = next(form for form in rows[0]["milliseconds"] if form != "products")
    others = [form for form in _SHORT if any(form in row["milliseconds"] for row in rows)]
    cells = []
    for row in rows:
        case, ms = row["case"], row["milliseconds"]
        cells.append([
            f"{case['power']:g}", f"{case['K']}", f"{case['C']}", _digits(ms["products"]),
            _digits(ms[ours]), f"{row['to_products']:.2f}", f"{row['peak_floats']:.2f}",
            *(_times(ms[form] / ms[ours]) if form in ms else "-" for form in others),
        ])  # fmt: skip
    title = f"one training step, B = 1000, N = 784: ms, and by how much {ours} is faster"
    columns = ("n", "K", "C", "prod", ours, "ratio", "peak", *(_SHORT[form] for form in others))
    return FittedTable(title, columns, cells, drop=range(len(columns) - 1, 5, -1))


def _digits(milliseconds: float) -> str:
    return f"{milliseconds:.1f}" if milliseconds >= 2 else f"{milliseconds:.3f}"


def _times(speedup: float) -> str:
    return f"{speedup:.1f}x" if speedup < 10 else f"{speedup:.0f}x"


def _inference_table(rows: list[Row]) -> FittedTable:
    cells = []
    for row in rows:
        alone, cpu = row["milliseconds"]["products"], row["milliseconds"]["cpu"]
        ratio, peak = f"{cpu / alone:.2f}", f"{row['peak_floats']:.2f}"
        cells.append([f"{row['power']:g}", f"{alone:.0f}", f"{cpu:.0f}", ratio, peak])
    title = "labels of 10,000 images, K = 2000; the product is its one matrix product"
    return FittedTable(title, ("n", "product", "cpu", "/ product", "peak"), cells)


def _iteration_table(rows: list[Row]) -> FittedTable:
    cells = []
    for row in rows:
        times = [f"{row['milliseconds'][name]:.1f}" for name in ("kernels", "iteration")]
        cells.append([f"{row['power']:g}", *times, f"{row['to_kernels']:.2f}"])
    title = "one iteration of Eq. 3.2 on 1000 images, and its kernels alone"
    return FittedTable(title, ("n", "kernels", "iteration", "/ kernels"), cells)


def _crossing_table(rows: list[Row]) -> FittedTable:
    cells = [
        [f"{row['power']:g}", mode, f"{rate:.0f}", f"{row['gradients'][mode]:.1f}",
         f"{100 * row['crossed'][mode]:.1f} %"]
        for row in rows
        for mode, rate in row["images_per_second"].items()
    ]  # fmt: skip
    title = f"{rows[0]['n_images']} images to the boundary of their second choice"
    return FittedTable(title, ("n", "mode", "images / s", "gradients each", "crossed"), cells)


def _training_line(row: Row) -> str:
    error = row["test_error"]
    text = "" if error is None else f", test error {100 * error:.2f} %"
    return (
        "n = {power:g}, {epochs} epochs, {products} products: {seconds:.0f} s".format(**row) + text
    )

"""`denseam bench --device cuda`"""

import argparse
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.table import Table

from denseam import data
from denseam.bench import CASES, CrossingRow, measure_crossing
from denseam.bench.card import (
    CardRow,
    TrainingRow,
    card_environment,
    measure_card_step,
    measure_training,
)
from denseam.cli.common import print_json, stdout, table
from denseam.cli.progress import counted
from denseam.errors import InputError
from denseam.files import write_json
from denseam.kernels import choose
from denseam.pretrained import load_any

Row = TypeVar("Row", CardRow, CrossingRow, TrainingRow)

_LARGEST = 100_000_000  # B K C: plain PyTorch holds several arrays of as many floats
_LEGEND = """\
full, tf32, bf16   denseam's step, as `denseam train --products` plays it from a CUDA graph
host               the full one without the graph     prod   the two products alone, by cuBLAS
ref                denseam's kernels in PyTorch       auto   the equations typed into PyTorch
comp               torch.compile of those"""


def run(args: argparse.Namespace, device: torch.device) -> int:
    """Measure, print the tables, end with a line of JSON.

    Raises:
        InputError: where the card's kernels do not run, with the reason.
    """
    chosen = choose(device)
    if chosen.kernel.name != "triton":
        raise InputError(f"--device {args.device}: nothing of ours to measure: {chosen.reason}")
    record: dict[str, Any] = {
        "environment": card_environment(device), "steps": [], "crossings": [], "trainings": [],
    }  # fmt: skip
    path = None if args.save is None else _place(args.save, record["environment"]["card"])

    def kept(kind: str, row: Row) -> Row:
        """Minutes of a card are dear: what has been measured is kept, whatever comes after."""
        record[kind].append(row.to_json())
        if path is not None:
            write_json(path, record)
        return row

    cases = [case for case in CASES if case.B * case.K * case.C < _LARGEST]
    steps = [
        kept("steps", measure_card_step(case, args.rounds, device))
        for case in counted(cases, "training steps")
    ]
    dataset = data.load("mnist")
    visible = dataset.test.visible()[: args.images or 10_000].to(device)
    crossings = [
        kept("crossings", measure_crossing(load_any(name, device=args.device), visible))
        for name in counted(args.models or ["mnist-n30"], "boundaries")
    ]
    trained = []
    if args.train:
        row = measure_training(dataset, args.epochs, args.products, device)
        trained.append(kept("trainings", row))
    if args.json:
        print_json(record)
        return 0
    facts = record["environment"]
    stdout.print(f"{facts['card']}, torch {facts['torch']}, triton {facts['triton']}")
    stdout.print(_step_table(steps))
    stdout.print(_LEGEND)
    stdout.print(crossing_table(crossings))
    for row in trained:
        stdout.print(_training_line(row))
    sys.stdout.write(json.dumps(record) + "\n")
    return 0


def _place(folder: Path, card: str) -> Path:
    name = re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")
    return folder / f"{name}-{datetime.now(tz=UTC):%Y%m%dT%H%M%SZ}.json"


def _step_table(rows: list[CardRow]) -> Table:
    cells = []
    for row in rows:
        ms, alone = row.milliseconds, row.products
        times = [*[*ms.values()][:3], row.launched, *[*ms.values()][3:], *alone.values()]
        cells.append([
            f"{row.case.power:g}", f"{row.case.K}", f"{row.case.C}",
            *(f"{1000 * t:.0f}" for t in times),
            f"{ms['full'] / alone['full']:.2f}", f"{ms['compiled'] / ms['full']:.1f}x",
        ])  # fmt: skip
    columns = (
        "n", "K", "C", "full", "tf32", "bf16", "host", "ref", "auto", "comp",
        "prod", "prod tf32", "prod bf16", "full / prod", "comp / full",
    )  # fmt: skip
    return table("one training step, B = 1000, N = 784: microseconds", columns, cells)


def _training_line(row: TrainingRow) -> str:
    error = "" if row.test_error is None else f", test error {100 * row.test_error:.2f} %"
    return (
        f"n = {row.power:g}, {row.epochs} epochs, {row.products} products: "
        f"{row.seconds:.0f} s{error}"
    )


def crossing_table(rows: list[CrossingRow]) -> Table:
    """Return how fast images cross, by mode."""
    cells = [
        [f"{row.power:g}", mode, f"{row.n_images / seconds:.0f}", f"{row.gradients[mode]:.1f}",
         f"{100 * row.crossed[mode]:.1f} %"]
        for row in rows
        for mode, seconds in row.seconds.items()
    ]  # fmt: skip
    title = f"{rows[0].n_images} images to the boundary of their second choice"
    return table(title, ("n", "mode", "images / s", "gradients each", "crossed"), cells)

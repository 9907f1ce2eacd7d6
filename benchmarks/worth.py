"""What each idea of adversarial training is worth: a table of docs/robustness.md.

    python benchmarks/worth.py                  # all that has no result yet, first seed first
    python benchmarks/worth.py 'average*/0'     # some; --again: also what has one
    python benchmarks/worth.py --tables         # the page, from the results there are

Short trainings: MNIST's first 20,000 images, 8 epochs, 500 memories, n = 30, L2 1.5 in [0, 1]
units, 5 steps of attack, batches of 500 and as many attacked; one change in each row. Measured on
held-out training images, the last 10,000: error of all, and minimum_norm on the first 200. Runs are
in runs/worth, where an interrupted one goes on.
"""

import statistics
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from tables import Page, Results, command, markdown
from toolkit_tables import ROOT

from denseam import Recipe, data, evaluate, minimum_norm, train
from denseam.data import Dataset

SEEDS, COUNT, SIZES = 3, 200, (1.0, 1.5, 2.0)
BASE: dict[str, Any] = {
    "power": 30, "epochs": 8, "n_memories": 500, "per_class": 50, "objective": "cross-entropy",
    "adversarial": "l2:1.5", "adversarial_ramp": 0.25,
}  # fmt: skip
CHANGES: dict[str, dict[str, Any]] = {
    "no attack": {"adversarial": ""},
    "as said above": {},
    "250 memories": {"n_memories": 250},
    "1000 memories": {"n_memories": 1000},
    "2000 memories": {"n_memories": 2000},
    "batches of 250": {"per_class": 25},
    "batches of 100": {"per_class": 10},
    "average 1": {"average": 1.0},
    "average 3": {"average": 3.0},
    "keep best-attacked": {"keep": "best-attacked"},
    "shift 0.5": {"shift": 0.5},
    "mix 0.25": {"mix": 0.25},
    "mix 0.75": {"mix": 0.75},
    "mix 1": {"mix": 1.0},
    "attacked-target clean, mix 0.5": {"attacked_target": "clean"},
    "attacked-target clean, mix 0.85": {"attacked_target": "clean", "mix": 0.85},
    "1 step": {"adversarial_steps": 1},
    "10 steps": {"adversarial_steps": 10},
    "perturbations fast": {"perturbations": "fast"},
    "perturbations free, 4 showings, 2 epochs": {
        "perturbations": "free", "adversarial_steps": 4, "epochs": 2,
    },
    "objective margin": {"objective": "margin"},
    "energy exponential": {"energy": "exponential"},
    "n = 2": {"power": 2},
    "n = 3": {"power": 3},
    "n = 10": {"power": 10},
    "n = 20": {"power": 20},
    "n = 100": {"power": 100},
}  # fmt: skip


@cache
def mnist() -> Dataset:
    held = data.load("mnist").hold_out(10_000)
    return Dataset("mnist", held.train.subset(slice(20_000)), held.test)


def recipe_of(name: str, seed: int) -> Recipe:
    fields = {**BASE, **CHANGES[name], "seed": seed}
    return Recipe.paper(fields.pop("power"), fields.pop("epochs"), **fields)


def trained(name: str, seed: int) -> dict[str, Any]:
    """Return errors and distances on held-out images of a training with one change."""
    held = mnist().test
    folder = ROOT / "runs/worth" / f"{name.replace(' ', '-')}-{seed}"
    result = train(recipe_of(name, seed), mnist().train, folder, progress=False)
    few = held.subset(slice(COUNT))
    nearest = minimum_norm(result.model, few.visible(), few.labels, eight_bit=False)
    distances = torch.where(nearest.success, nearest.distances.l2 / 2, torch.inf)
    return {
        "error": evaluate(result.model, held).error,
        "distances": " ".join(f"{each:.3f}" for each in distances.tolist()),
        "seconds": round(sum(record.seconds for record in result.records)),
    }


def table(results: Results) -> str:
    """Return a row for each change: means over the seeds there are, with the range."""
    rows = []
    for name in CHANGES:
        runs = [run for s in range(SEEDS) if (run := results.get(f"{name}/{s}"))]
        distances = [[float(each) for each in run["distances"].split()] for run in runs]
        cells = [
            [100 * run["error"] for run in runs],
            [statistics.median(each) for each in distances],
            *([100 * statistics.mean(x > size for x in each) for each in distances]
              for size in SIZES),
            [run["seconds"] for run in runs],
        ]  # fmt: skip
        rows.append([name, *(spread(values) for values in cells), f"{len(runs) or '-'}"])
    left = (f"left at {size}, %" for size in SIZES)
    return markdown(["", "error, %", "median L2", *left, "seconds", "seeds"], rows)


def spread(values: list[float]) -> str:
    """Return a mean, and the range in brackets; "-" for no value."""
    if not values:
        return "-"
    text = f"{statistics.mean(values):.3g}"
    return text if len(values) == 1 else f"{text} ({min(values):.3g} to {max(values):.3g})"


def pieces() -> dict[str, Callable[[], dict[str, Any]]]:
    return {f"{n}/{s}": partial(trained, n, s) for s in range(SEEDS) for n in CHANGES}


PAGE = Page(ROOT / "docs/robustness.md", ROOT / "benchmarks/results/worth.json", {"worth": table})

if __name__ == "__main__":
    torch.set_num_threads(1)
    command(PAGE, pieces(), __doc__)

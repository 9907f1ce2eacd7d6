"""Certified accuracy against n, of the same memories: the paper's thesis as a curve.

    .venv/bin/python benchmarks/certified_against_n.py runs/certified --count 200 --out curve.png

The memories of a model trained by `denseam train --certify` are read with powers n, beside the
limit in which they were trained. Of votes for other classes only the offset changes, alike for all
memories, which the limit does not see: fields become small and positive, so that a power n tells
them apart. kappa = K^(1/n) is what the theorem of docs/certificates.md pays for finite n.
"""

import argparse
import math

import torch

import denseam
from denseam.figures import budget
from denseam.pretrained import load_any

POWERS = (30, 100, 300, 1000, 10_000, math.inf)


def reading(model, power):
    """Return the same memories with another power, votes for other classes raised."""
    other = denseam.DenseAM(
        model.n_visible, model.n_classes, model.n_memories, power=power, temperature=1.0
    )
    memories = model.memories.detach().clone()
    votes = memories[:, model.n_visible :]
    own = votes.amax(dim=1)
    raised = own.min() - 0.05  # below every vote for the own class
    votes[votes < own[:, None]] = raised
    other.memories.data = memories
    return other


def main():
    """Certify, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--out")
    args = parser.parse_args()
    model = load_any(args.model)
    test = denseam.data.load("mnist").test.subset(slice(args.count))
    v, labels = test.visible(), test.labels
    names, distances = [], []
    for power in POWERS:
        made = denseam.certify(reading(model, power), v, labels, bound="distance")
        names.append("limit" if math.isinf(power) else f"n = {power}")
        distances.append(made.distances)
        shown = "  ".join(f"{100 * made.accuracy(e):5.1f}" for e in (0.25, 0.5, 1, 1.58))
        print(
            f"{names[-1]:>10}  error {100 * made.error:.1f} %  certified at 0.25, 0.5, 1, 1.58: "
            f"{shown} %  median {made.median:.3f}  {made.seconds:.0f} s",
            flush=True,
        )
    if args.out:
        curves = budget.BudgetCurves(tuple(names), tuple(distances), "l2")
        budget.save(curves, args.out)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

"""The speed of energy functions: a training step of each beside its two matrix products.

    python benchmarks/energies.py [--rounds 15]

B = 1000, K = 2000, N = 784, C = 10. All take turns in one run. Medians in milliseconds, and their
ratio to the products alone.
"""

import argparse
from functools import partial

import torch

from denseam.bench.steps import RULE, Problem, products_alone
from denseam.bench.timing import milliseconds
from denseam.energies import Exponential, RectifiedPolynomial
from denseam.kernels import Paper, choose, step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    problem = Problem.random(1000, 2000, 784, 10, 30)
    neurons = torch.nn.functional.pad(problem.visible, (0, 10))
    T = problem.temperature
    steps = {"products": products_alone(problem)}
    for F in (RectifiedPolynomial(2), RectifiedPolynomial(30), Exponential.matched(30, T)):
        each = problem.copy()
        steps[f"{F}"] = partial(
            step, choose(energy=F).kernel, F, neurons, each.labels, each.memories, each.velocity,
            RULE, temperature=T, objective=Paper(each.loss_power), n_classes=10,
        )  # fmt: skip
    times = milliseconds(steps, rounds=rounds)
    for name, ms in times.items():
        print(f"{name:40} {ms:7.1f} ms {ms / times['products']:6.2f}")


if __name__ == "__main__":
    main()

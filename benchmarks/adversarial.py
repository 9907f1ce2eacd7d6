"""The speed of adversarial training: a step with k attack iterations beside its parts.

    python benchmarks/adversarial.py [--rounds 9] [--steps 5]

n = 30, K = 2000, N = 784, C = 10; 500 clean images and the same 500 attacked. The parts are k
forward and backward passes from 500 images to log-energies and back, and one training step on 1000
images with the cross-entropy of log-energies. All take turns in one run; medians in milliseconds,
and the ratio of the whole to the sum of its parts. "fast" perturbations and one showing of "free"
ones take one iteration each; k showings are k training steps, too.
"""

import argparse
from functools import partial
from typing import get_args

import torch

from denseam import DenseAM
from denseam.bench.steps import RULE, Problem
from denseam.bench.timing import milliseconds
from denseam.kernels import CrossEntropy, choose, step
from denseam.training import Adversarial
from denseam.training.adversarial import Perturbations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    problem = Problem.random(1000, 2000, 784, 10, 30)
    model = DenseAM(784, 10, 2000, 30, problem.temperature)
    model.memories.data = problem.memories
    images, labels = problem.visible[:500], problem.labels[:500]
    head = model.head(images.shape[1:], "log_energy")
    weights = torch.nn.functional.one_hot(labels, 10).double()
    learn = partial(
        step, choose(energy=model.energy).kernel, model.energy, memories=problem.memories,
        velocity=problem.velocity, rule=RULE, temperature=problem.temperature,
        objective=CrossEntropy(250.0), n_classes=10,
    )  # fmt: skip
    whole = torch.nn.functional.pad(problem.visible, (0, 10))
    rules = {
        f"{kind} perturbations": Adversarial("l2", 1.5, steps=args.steps, perturbations=kind)
        for kind in get_args(Perturbations)
    }

    def attacked(rule: Adversarial) -> None:
        inputs, targets = rule(model, images, labels, epoch=0)
        learn(neurons=torch.nn.functional.pad(inputs, (0, 10)), labels=targets)

    times = milliseconds(
        {
            "forward and backward": lambda: head(images).pull(weights),
            "training step": partial(learn, neurons=whole, labels=problem.labels),
            **{name: partial(attacked, rule) for name, rule in rules.items()},
        },
        rounds=args.rounds,
    )
    for name, ms in times.items():
        iterations = {"fresh perturbations": args.steps}.get(name, 1)
        parts = iterations * times["forward and backward"] + times["training step"]
        ratio = f"{ms / parts:7.2f} of its parts" if name in rules else ""
        print(f"{name:24} {ms:7.1f} ms{ratio}")


if __name__ == "__main__":
    main()

"""Speed of descent in pixel space: of an iteration and its kernels, and of sets of images."""

import time
from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor

from denseam.bench.report import Row
from denseam.bench.steps import Problem
from denseam.bench.timing import milliseconds
from denseam.classifier import Classifier
from denseam.descent import cross_boundary
from denseam.descent.boundary import Mode
from denseam.descent.goals import PaperObjective
from denseam.descent.heads import head_of
from denseam.descent.loop import Pace, descend
from denseam.energies import as_function
from denseam.kernels import by_name
from denseam.model import DenseAM

_STEPS = 10


def measure_iteration(power: float, rounds: int, B: int = 1000, K: int = 2000) -> Row:
    """Time an iteration of Eq. 3.2, one of ten in a row, and its kernels alone."""
    problem = Problem.random(B, K, 784, 10, power)
    model = DenseAM(784, 10, K, power, problem.temperature)
    model.memories.data.copy_(problem.memories)
    head = head_of(model, torch.Size([784]), log_energy=False)
    targets = (problem.labels + 1) % 10

    def iterations() -> None:
        descend(head, problem.visible, PaperObjective(targets, 30.0), Pace(1e-3, _STEPS - 1))

    times = milliseconds({"iteration": iterations, "kernels": _kernels(problem)}, rounds)
    times["iteration"] /= _STEPS
    to_kernels = times["iteration"] / times["kernels"]
    return {"power": power, "milliseconds": times, "to_kernels": to_kernels}


def _kernels(problem: Problem) -> Callable[[], Tensor]:
    """Return a step of the kernels: overlaps, sums, weights, the product to the images."""
    kernel, F = by_name("cpu"), as_function(problem.power)
    visible_memories = problem.memories[:, :784].contiguous()
    classes = problem.memories[:, 784:]
    coefficients = torch.ones(11, len(problem.visible))

    def step() -> Tensor:
        overlaps = kernel.overlaps(problem.visible, visible_memories)
        sums = kernel.sums(overlaps, classes, F, every_class=False)
        weights, _ = kernel.weights(
            overlaps, classes, coefficients, sums.scale, F, class_gradient=False
        )
        return kernel.to_images(weights, visible_memories)

    return step


def measure_crossing(model: Classifier, visible: Tensor) -> Row:
    """Time ``cross_boundary`` of images (B, N) in every mode, once.

    Returns:
        ``power``, ``n_images``, and by mode ``seconds``, ``gradients`` (mean of an image),
        ``crossed`` (a fraction) and ``images_per_second``.
    """
    seconds, gradients, crossed = {}, {}, {}
    for mode in get_args(Mode):
        cross_boundary(model, visible[:10], mode=mode)
        start = time.perf_counter()
        crossing = cross_boundary(model, visible, mode=mode)
        seconds[mode] = time.perf_counter() - start
        gradients[mode] = float(crossing.steps.double().mean())
        crossed[mode] = float(crossing.success.double().mean())
    return {
        "power": model.power, "n_images": len(visible), "seconds": seconds, "gradients": gradients,
        "crossed": crossed,
        "images_per_second": {mode: len(visible) / spent for mode, spent in seconds.items()},
    }  # fmt: skip

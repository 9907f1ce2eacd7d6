"""One training step, written in every way a user could pick instead of denseam.

Each function here takes a ``Problem`` and returns a callable that does the whole step: gradient of
the objective (Eq. 2.3) and max-norm momentum update. All but the products alone are checked to move
the memories alike before they are timed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from denseam import energy
from denseam.bench.timing import milliseconds
from denseam.data.pixels import to_visible
from denseam.energies import as_function
from denseam.kernels import Paper, Rule, by_name
from denseam.kernels import step as training_step
from denseam.kernels.products import FORMS, available_products

Step = Callable[[], object]
RULE = Rule(momentum=0.9, gradient_scale=1.0, learning_rate=0.01, floor=1e-30)


@dataclass(frozen=True)
class Problem:
    """A minibatch and memories like those of a half-trained model."""

    visible: Tensor  # (B, N)
    labels: Tensor  # (B,)
    memories: Tensor  # (K, N + C); steps change it
    velocity: Tensor  # (K, N + C)
    power: float
    temperature: float
    loss_power: float

    @classmethod
    def random(cls, B: int, K: int, N: int, C: int, power: float) -> "Problem":
        """Return images that are mostly background, and noisy copies of some as memories."""
        generator = torch.Generator().manual_seed(0)
        ink = torch.rand(B, N, generator=generator) < 0.2
        visible = to_visible(torch.where(ink, torch.rand(B, N, generator=generator), 0.0))
        labels = torch.arange(B) % C
        rows = torch.randint(B, (K,), generator=generator)
        noise = 0.3 * torch.randn(K, N + C, generator=generator)
        prototypes = torch.cat([visible, energy.targets(labels, C, torch.float32)], dim=1)[rows]
        memories = (0.7 * prototypes + noise).clamp_(-1, 1)
        return cls(visible, labels, memories, torch.zeros_like(memories), power, 0.75 * N, 4.0)

    def to(self, device: torch.device) -> "Problem":
        """Return the same problem on another device."""
        return replace(
            self, visible=self.visible.to(device), labels=self.labels.to(device),
            memories=self.memories.to(device), velocity=self.velocity.to(device),
        )  # fmt: skip

    def copy(self) -> "Problem":
        """Return the same problem with memories of its own, and a velocity of 0."""
        velocity = torch.zeros_like(self.velocity)
        return replace(self, memories=self.memories.clone(), velocity=velocity)


def products_alone(problem: Problem) -> Step:
    """Return overlaps and memory gradient only, by the fastest product: the floor of any step."""
    n_visible = problem.visible.shape[1]
    memories = problem.memories[:, :n_visible].contiguous()
    weights = torch.randn(memories.shape[0], problem.visible.shape[0])
    multiply = FORMS[_fastest(problem, memories, weights)]

    def step() -> None:
        multiply(memories, problem.visible)
        multiply(weights, problem.visible.T)

    return step


def _fastest(problem: Problem, memories: Tensor, weights: Tensor) -> str:
    steps = {
        name: lambda m=FORMS[name]: (m(memories, problem.visible), m(weights, problem.visible.T))
        for name in available_products()
    }
    times = milliseconds(steps, rounds=3)
    return min(times, key=times.__getitem__)


def kernel_step(name: str, problem: Problem) -> Step:
    """Return the step of a back end by its name, launched operation by operation."""
    # As the training loop draws a batch: class neurons, at 0, behind the pixels.
    n_classes = problem.memories.shape[1] - problem.visible.shape[1]
    neurons = torch.nn.functional.pad(problem.visible, (0, n_classes))
    kernel, F = by_name(name), as_function(problem.power)

    def step() -> None:
        training_step(
            kernel, F, neurons, problem.labels, problem.memories, problem.velocity, RULE,
            temperature=problem.temperature, objective=Paper(problem.loss_power),
            n_classes=n_classes,
        )  # fmt: skip

    return step


def _plain_objective(problem: Problem, memories: Tensor) -> Tensor:
    activity = energy.class_activity(
        problem.visible, memories, int(problem.power), problem.temperature
    )
    target = energy.targets(problem.labels, activity.shape[1], activity.dtype)
    return ((activity - target) ** int(2 * problem.loss_power)).sum()


def _autograd_step(problem: Problem, objective: Callable[[Problem, Tensor], Tensor]) -> Step:
    memories = problem.memories.requires_grad_()

    def step() -> None:
        (gradient,) = torch.autograd.grad(objective(problem, memories), memories)
        with torch.no_grad():
            problem.velocity.mul_(RULE.momentum).sub_(gradient)
            largest = problem.velocity.abs().amax(dim=1, keepdim=True).clamp(min=RULE.floor)
            memories.addcdiv_(problem.velocity, largest, value=RULE.learning_rate).clamp_(-1, 1)

    return step


def autograd(problem: Problem) -> Step:
    """Return the equations typed into PyTorch, gradient by autograd."""
    return _autograd_step(problem, _plain_objective)


def compiled(problem: Problem) -> Step:
    """Return the same under torch.compile."""
    torch.compiler.reset()
    return _autograd_step(problem, torch.compile(_plain_objective))


def nips16(problem: Problem) -> Step:
    """Return the form of NIPS16, appendix A, in NumPy: one column per image *and* class."""
    v, labels = problem.visible.numpy(), problem.labels.numpy()
    memories, velocity = problem.memories.numpy(), problem.velocity.numpy()
    (B, N), C = v.shape, memories.shape[1] - v.shape[1]
    n, T, m = int(problem.power), np.float32(problem.temperature), problem.loss_power
    off = np.full((N + C, B * C), -1, np.float32)
    off[:N] = np.repeat(v.T, C, axis=1)
    on = off.copy()
    columns = np.arange(B * C)
    on[N + columns % C, columns] = 1
    target = -np.ones(B * C, np.float32)
    target[np.arange(B) * C + labels] = 1

    def step() -> None:
        h_on = np.maximum(memories @ on, 0) / T
        h_off = np.maximum(memories @ off, 0) / T
        activity = np.tanh((h_on**n - h_off**n).sum(axis=0))
        slope = (activity - target) ** int(2 * m - 1) * (1 - activity**2)
        gradient = (slope * h_on ** (n - 1)) @ on.T - (slope * h_off ** (n - 1)) @ off.T
        np.multiply(velocity, RULE.momentum, out=velocity)
        np.subtract(velocity, gradient, out=velocity)
        largest = np.maximum(np.abs(velocity).max(axis=1, keepdims=True), RULE.floor)
        np.clip(memories + RULE.learning_rate * velocity / largest, -1, 1, out=memories)

    return step


STEPS: dict[str, Callable[[Problem], Step]] = {
    "cpu": partial(kernel_step, "cpu"),
    "8-bit": partial(kernel_step, "8-bit"),
    "reference": partial(kernel_step, "reference"),
    "autograd": autograd,
    "compiled": compiled,
    "nips16": nips16,
}

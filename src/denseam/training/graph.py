"""Training steps without the host: recorded once as a CUDA graph, then replayed for each batch.

A step on a card takes a fraction of a millisecond, less than launching its fifteen kernels from
Python. So images, order, memories, velocity, and the numbers of an epoch (temperature, learning
rate, gradient scale) all lie on the card, where the recorded step reads them. Between two epochs
the host writes new numbers, and reads the tally.

The steps work on copies of memories and velocity whose rows are padded with zeros to a multiple of
16, [pixels | zeros | class neurons]: rows load fastest when they begin at multiples of
16 bytes. Zeros stay zeros, and change no overlap and no largest component.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from denseam.energies import EnergyFunction
from denseam.kernels import Kernel, Objective, Rule, step
from denseam.training.tally import Tally

if TYPE_CHECKING:
    from denseam.kernels.triton.kernel import TritonKernel

__all__ = ["ResidentSteps", "recordable", "recorded"]

_ALIGNMENT = 16  # components


def recordable(kernel: Kernel, device: torch.device) -> bool:
    """Return whether steps of a dense associative memory can run without the host."""
    return kernel.records_steps and device.type == "cuda"


def recorded(step: Callable[[], None]) -> Callable[[], None]:
    """Return a step recorded as a CUDA graph, after three runs that compile its kernels."""
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


class ResidentSteps:
    """The steps of an epoch on one set of images.

    Args:
        kernel: the back end.
        pixels: (M, N), bytes or floats in [-1, 1].
        labels: (M,) int64.
        shape: (K, N + C) of the memories.
        batches: (batches, B), the shape of an epoch's order.
        F: the energy function.
        objective: what to make small.
        dtype: of memories and velocity.
    """

    def __init__(
        self,
        kernel: "TritonKernel",
        pixels: Tensor,
        labels: Tensor,
        *,
        shape: torch.Size,
        batches: tuple[int, int],
        F: EnergyFunction,
        objective: Objective,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._kernel, self._pixels, self._labels = kernel, pixels, labels
        self.F, self._loss = F, objective
        (K, components), device = shape, pixels.device
        self._n_visible = pixels.shape[1]
        self._n_classes = components - self._n_visible
        width = -(-components // _ALIGNMENT) * _ALIGNMENT
        self._memories = torch.zeros(K, width, dtype=dtype, device=device)
        self._velocity = torch.zeros_like(self._memories)
        # Written by the host between two epochs.
        self._order = torch.zeros(batches, dtype=torch.int64, device=device)
        self._number = torch.zeros(1, dtype=torch.int64, device=device)
        self._temperature = torch.ones((), dtype=torch.float64, device=device)
        self._rule = torch.ones(4, dtype=torch.float64, device=device)
        # Read by the host after an epoch.
        self._activity = torch.zeros(*batches, self._n_classes, dtype=torch.float64, device=device)
        self._predicted = torch.zeros_like(self._order)
        self._objective = torch.zeros(batches[0], dtype=torch.float64, device=device)
        with self._device():
            self._play = recorded(self._step)

    def epoch(
        self,
        order: Tensor,  # (batches, B) int64: rows of the images
        memories: Tensor,  # (K, N + C), in and out
        velocity: Tensor,  # (K, N + C), in and out
        *,
        temperature: float,
        rule: Rule,
        tally: Tally,
        on_batch: Callable[[int], None],
    ) -> None:
        """Run a step for every batch.

        ``on_batch`` is called once a step is queued, when the card may not have finished it.
        """
        self.load(order, memories, velocity, temperature=temperature, rule=rule)
        for number in range(len(order)):
            self.play()
            on_batch(number)
        self.store(memories, velocity)
        tally.add(
            self._activity.flatten(0, 1), self._predicted.flatten(),
            self._labels[self._order.flatten()], self._objective.sum(),
        )  # fmt: skip

    def load(
        self,
        order: Tensor,
        memories: Tensor,
        velocity: Tensor,
        *,
        temperature: float,
        rule: Rule,
    ) -> None:
        """Copy in the state and the numbers of the next steps; arguments as for ``epoch``."""
        self._fill(self._memories, memories)
        self._fill(self._velocity, velocity)
        self._order.copy_(order)
        self._number.zero_()
        self._temperature.fill_(temperature)
        self._rule.copy_(torch.tensor(rule, dtype=torch.float64))

    def play(self) -> None:
        """Queue the step of the next batch; after the last one comes the first."""
        with self._device():
            self._play()

    def store(self, memories: Tensor, velocity: Tensor) -> None:
        """Copy memories and velocity, (K, N + C), back to the caller's."""
        for whole, padded in ((memories, self._memories), (velocity, self._velocity)):
            whole[:, : self._n_visible] = padded[:, : self._n_visible]
            whole[:, self._n_visible :] = padded[:, -self._n_classes :]

    def _device(self) -> AbstractContextManager[Any]:
        device = self._pixels.device
        return torch.cuda.device(device) if device.type == "cuda" else nullcontext()

    def _fill(self, padded: Tensor, whole: Tensor) -> None:
        padded[:, : self._n_visible] = whole[:, : self._n_visible]
        padded[:, self._n_visible : -self._n_classes] = 0
        padded[:, -self._n_classes :] = whole[:, self._n_visible :]

    def _step(self) -> None:
        """Take ``kernels.step`` with all numbers on the card."""
        neurons, labels = self._kernel.draw(
            self._pixels, self._labels, self._order, self._number, self._memories
        )
        outcome = step(
            self._kernel, self.F, neurons, labels, self._memories, self._velocity, self._rule,
            temperature=self._temperature, objective=self._loss, n_classes=self._n_classes,
        )  # fmt: skip
        self._activity.index_copy_(0, self._number, outcome.activity[None])
        self._predicted.index_copy_(0, self._number, outcome.predicted[None])
        self._objective.index_copy_(0, self._number, outcome.objective[None])
        # Recording runs extra steps, so the number wraps around.
        self._number.add_(1).remainder_(len(self._order))

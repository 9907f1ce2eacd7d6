"""Memories as a part of networks: ``MemoryLayer`` for any network, ``DenseMemories`` for ours."""

import math

import torch
from torch import Tensor, nn

from denseam import energies, kernels
from denseam.checks import choice, number, seed_of, whole
from denseam.classifier import check_device, check_head
from denseam.energies import EnergyFunction, Largest, RectifiedPolynomial
from denseam.errors import InputError
from denseam.heads import HeadName, lead
from denseam.kernels import Look, choose
from denseam.precision import mixed

__all__ = ["DenseMemories", "MemoryLayer", "one_energy"]


class DenseMemories:
    """A base class of networks whose memories are scored by an energy function and the kernels."""

    memories: nn.Parameter  # (K, D + C)
    temperature: float
    _energy: EnergyFunction

    @property
    def energy(self) -> EnergyFunction:
        """The energy function F."""
        return self._energy

    def _scores(self, visible: Tensor, head: HeadName) -> Tensor:
        """Return the log-energy or the energy gap, (B, D) -> (B, C).

        Where energies have no gap, it is the lead of log-energies, divided by T.
        """
        if head == "log_energy":
            return kernels.log_energy(visible, self.memories, self.energy)
        if not self.energy.has_gap:
            limit = torch.finfo(visible.dtype).max
            leads = lead(kernels.log_energy(visible, self.memories, self.energy))
            return (leads / self.temperature).clamp(-limit, limit)
        return kernels.energy_gap(visible, self.memories, self.energy, self.temperature)

    def _exact_log_energy(self, visible: Tensor) -> Tensor:
        """Return log-energies, (B, D) -> (B, C) float64; see ``kernels.exact_log_energy``."""
        return kernels.exact_log_energy(visible, self.memories, self.energy)

    def look(
        self, visible: Tensor, *, every_class: bool = True, rows: Tensor | None = None
    ) -> Look:
        """Return overlaps and sums of a batch (B, D), without a gradient of autograd.

        ``rows`` are the visible memories (K, D) where they lie dense: products read those faster.
        """
        memories = self.memories.detach()
        kernel = choose(memories.device, memories.dtype, self.energy).kernel
        return kernels.look_at(
            kernel, self.energy, visible, memories if rows is None else rows,
            memories[:, visible.shape[1] :], every_class=every_class,
        )  # fmt: skip


class MemoryLayer(DenseMemories, nn.Module):
    """A layer of memories for any network: (B, D) inputs of any range -> (B, C) scores.

    The energies of a dense associative memory (Eqs. 2.1 and 2.2) as outputs of a layer. Gradients
    to inputs and memories go through the kernels, at their speed and without an array of
    (B, K, C); any optimiser trains it, and ``torch.compile`` takes it. With the field of memory mu
    and class c as on_c^mu = sum_i xi_i^mu x_i + 2 xi_c^mu - sum_c' xi_c'^mu, scores are

        "log_energy"   log sum_mu F(on_c^mu), the default: it suits a softmax over classes
        "energy_gap"   sum_mu (F(on_c^mu) - F(off^mu)) / F(T)
        "tanh"         the tanh of that: Y of Eq. 2.1

    Log-energies grow with the power n: a cross-entropy of them may need a factor.

    Args:
        n_inputs: D.
        n_outputs: C.
        n_memories: K.
        power: n >= 1, of the rectified polynomial.
        energy: another energy function, see ``denseam.energies``, instead of a power.
        temperature: T > 0, for "energy_gap" and "tanh".
        head: which scores.
        seed: of the initial memories, normal, of length about 1.
        dtype, device: of the memories.

    Attributes:
        memories: (K, D + C), the only parameter: D visible components, then C votes.

    Raises:
        InputError: for sizes below 1, a number out of range, another head, or both or neither of
            power and energy.

    >>> layer = MemoryLayer(n_inputs=256, n_outputs=10, n_memories=500, power=20)
    >>> layer(torch.randn(3, 256)).shape
    torch.Size([3, 10])
    """

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        n_memories: int,
        power: float | None = None,
        *,
        energy: EnergyFunction | None = None,
        temperature: float = 1.0,
        head: HeadName = "log_energy",
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.n_inputs, self.n_outputs = whole("n_inputs", n_inputs), whole("n_outputs", n_outputs)
        self._energy = one_energy(power, energy)
        self.temperature = number("temperature", temperature, above=0)
        check_head(head)
        self.head: HeadName = head
        shape = whole("n_memories", n_memories), self.n_inputs + self.n_outputs
        generator = torch.Generator().manual_seed(seed_of(seed))
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64) / math.sqrt(shape[1])
        device = check_device("cpu" if device is None else device)
        self.memories = nn.Parameter(drawn.to(device, dtype))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return scores, (B, D) -> (B, C), finite for finite inputs.

        Where no memory is active for a class, its log-energy is that of one memory with the least
        normal field of float32.

        Raises:
            InputError: when inputs are not (B, D) of the memories' dtype.
        """
        if mixed(inputs.device.type):  # a layer before this one has rounded its outputs
            inputs = inputs.to(self.memories.dtype)
        if not torch.compiler.is_compiling():
            self._check(inputs)
        if self.head == "log_energy":
            return self._scores(inputs, "log_energy").clamp(min=self.energy.least_log)
        gap = self._scores(inputs, "energy_gap")
        return torch.tanh(gap) if self.head == "tanh" else gap

    def _check(self, inputs: Tensor) -> None:
        memories = self.memories
        if inputs.ndim != 2 or inputs.shape[1] != self.n_inputs:
            raise InputError(
                f"inputs have shape {tuple(inputs.shape)}: wanted (B, {self.n_inputs})"
            )
        if inputs.dtype != memories.dtype or inputs.device != memories.device:
            raise InputError(
                f"inputs are {inputs.dtype} on {inputs.device}, the memories {memories.dtype} on "
                f"{memories.device}: convert one with .to()"
            )

    def extra_repr(self) -> str:
        return (
            f"n_inputs={self.n_inputs}, n_outputs={self.n_outputs}, "
            f"n_memories={len(self.memories)}, energy={self.energy}"
        )


def one_energy(power: float | None, energy: EnergyFunction | None) -> EnergyFunction:
    """Return the energy function of a power, ``Largest`` for infinity, or the one that is given.

    Raises:
        InputError: for both or neither, for another type, and for a function that has no row in
            ``energies.FUNCTIONS``.
    """
    if (power is None) == (energy is None):
        raise InputError(f"power = {power}, energy = {energy}: wanted one of the two")
    if energy is None and power == math.inf:
        return Largest()
    if energy is None:
        return RectifiedPolynomial(power)  # type: ignore[arg-type]
    if not isinstance(energy, EnergyFunction):
        raise InputError(f"energy: wanted an EnergyFunction, got {type(energy).__name__}")
    choice("energy", energy.name, energies.FUNCTIONS)
    return energy

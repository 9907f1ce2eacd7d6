"""DenseAM: the network of the paper as a PyTorch module, fast inside and checked at the edge."""

import math
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from denseam import kernels
from denseam.data.validate import check_visible
from denseam.errors import DataUnavailableError, FileFormatError, InputError
from denseam.files import load_tensors, save_tensors

__all__ = ["DenseAM", "check_device", "check_power", "check_temperature", "load"]

# NIPS16, appendix A: where memories start.
INITIAL_MEAN = -0.3
INITIAL_STD = 0.3


class DenseAM(nn.Module):
    """A dense associative memory, DAM_n (Eqs. 2.1 and 2.2).

    Sizes: B images, N visible neurons, K memories, C classes. Images are ``visible``: (B, N) in
    [-1, 1], of the model's dtype and on its device.

    Args:
        n_visible: N, pixels of an image.
        n_classes: C.
        n_memories: K.
        power: n >= 1, of the rectified polynomial F_n. Whole numbers are fastest.
        temperature: T > 0; beta = 1 / T^n is derived from it.
        seed: of the initial memories, normal with mean -0.3 and deviation 0.3, clipped to [-1, 1].
        dtype: float32 or float64.
        device: where the memories live.

    Raises:
        InputError: for sizes below 1, n < 1, T <= 0 or another dtype.
    """

    memories: nn.Parameter  # (K, N + C) in [-1, 1]

    def __init__(
        self,
        n_visible: int,
        n_classes: int,
        n_memories: int,
        power: float,
        temperature: float,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        _check_sizes(n_visible=n_visible, n_classes=n_classes, n_memories=n_memories)
        if dtype not in (torch.float32, torch.float64):
            raise InputError(f"dtype = {dtype}: wanted torch.float32 or torch.float64")
        self.n_visible, self.n_classes = int(n_visible), int(n_classes)
        self._power = check_power(power)
        self._temperature = check_temperature(temperature)
        start = torch.empty(n_memories, n_visible + n_classes, dtype=dtype)
        start.normal_(INITIAL_MEAN, INITIAL_STD, generator=torch.Generator().manual_seed(seed))
        self.memories = nn.Parameter(start.clamp_(-1, 1).to(check_device(device)))

    @property
    def n_memories(self) -> int:
        """K."""
        return self.memories.shape[0]

    @property
    def power(self) -> float:
        """n, of the rectified polynomial F_n."""
        return self._power

    @property
    def temperature(self) -> float:
        """T; may be set. Decisions do not depend on it, Y does."""
        return self._temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self._temperature = check_temperature(value)

    @property
    def visible_memories(self) -> Tensor:
        """(K, N), a view: what each memory looks like."""
        return self.memories[:, : self.n_visible]

    @property
    def class_memories(self) -> Tensor:
        """(K, C), a view: what each memory votes for."""
        return self.memories[:, self.n_visible :]

    def forward(self, visible: Tensor) -> Tensor:
        """Class activity Y = tanh(energy gap), (B, N) -> (B, C) in [-1, 1] (Eq. 2.1)."""
        return torch.tanh(self.energy_gap(visible))

    def energy_gap(self, visible: Tensor) -> Tensor:
        """(B, N) -> (B, C): beta (E_off - E_on), the argument of tanh in Eq. 2.1.

        Values beyond the range of the dtype are clamped to it.

        Raises:
            InputError: when ``visible`` is not (B, N) in [-1, 1] in the model's dtype.
        """
        self._check(visible)
        return kernels.energy_gap(visible, self.memories, self.power, self.temperature)

    def log_energy(self, visible: Tensor) -> Tensor:
        """(B, N) -> (B, C): log sum_mu F_n(on); the argmax of Y, but it never saturates.

        -inf where no memory is active.

        Raises:
            InputError: when ``visible`` is not (B, N) in [-1, 1] in the model's dtype.
        """
        self._check(visible)
        return kernels.log_energy(visible, self.memories, self.power)

    def predict(self, visible: Tensor) -> Tensor:
        """Labels, (B, N) -> (B,) int64: argmax of Y, decided before tanh can saturate.

        An image on which no memory is active for any class gets 0; its ``log_energy`` says so.

        Raises:
            InputError: when ``visible`` is not (B, N) in [-1, 1] in the model's dtype.
        """
        self._check(visible)
        return kernels.decide(visible, self.memories, self.power)

    def save(self, path: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write the model to one safetensors file, atomically; ``denseam.load`` reads it.

        Args:
            path: the file.
            dtype: what to round the memories to, such as ``torch.float16`` for half the size; as
                they are by default. A model that was rounded is loaded in float32.

        Raises:
            InputError: for a dtype that is not a floating one.
            SaveError: when it cannot be written; what stood there is untouched.
        """
        if dtype is not None and not dtype.is_floating_point:
            raise InputError(f"dtype = {dtype}: wanted a floating one")
        memories = self.memories if dtype is None else self.memories.to(dtype)
        facts = {"power": self.power, "temperature": self.temperature, "n_visible": self.n_visible}
        save_tensors(Path(path), "model", {"memories": memories}, facts)

    def extra_repr(self) -> str:
        return (
            f"n_visible={self.n_visible}, n_classes={self.n_classes}, "
            f"n_memories={self.n_memories}, power={self.power:g}, temperature={self.temperature:g}"
        )

    def get_extra_state(self) -> dict[str, float]:
        return {"power": self.power, "temperature": self.temperature}

    def set_extra_state(self, state: Any) -> None:
        self._power = check_power(state["power"])
        self._temperature = check_temperature(state["temperature"])

    def _check(self, visible: Tensor) -> None:
        if torch.compiler.is_compiling():  # values are not known while a graph is traced
            return
        check_visible(visible, self.n_visible)
        memories = self.memories
        if visible.dtype != memories.dtype or visible.device != memories.device:
            raise InputError(
                f"visible is {visible.dtype} on {visible.device}, the model {memories.dtype} on "
                f"{memories.device}: convert one with .to()"
            )


def load(path: str | Path, *, device: torch.device | str = "cpu") -> DenseAM:
    """Read a model written by ``DenseAM.save``.

    Args:
        path: the file, or the folder of a finished training run.
        device: where its memories are to live.

    Raises:
        DataUnavailableError: when there is no such file.
        FileFormatError: when it is truncated, garbled or not a denseam model.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "model.safetensors"
        if not path.exists() and (path.parent / "checkpoint.safetensors").exists():
            raise DataUnavailableError(
                f"{path.parent}: the training run there has not finished; the command that began "
                "it goes on with it"
            )
    tensors, facts = load_tensors(path, "model")
    try:
        memories, n_visible = tensors["memories"], int(facts["n_visible"])
        n_memories, components = memories.shape
        dtype = memories.dtype if memories.dtype is torch.float64 else torch.float32
        model = DenseAM(
            n_visible, components - n_visible, n_memories, facts["power"], facts["temperature"],
            dtype=dtype,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FileFormatError(f"{path} is not a whole denseam model file: {error!r}") from error
    if not memories.is_floating_point():
        raise FileFormatError(f"{path} holds memories of {memories.dtype}: wanted floating ones")
    if not bool(memories.isfinite().all()):
        raise FileFormatError(f"{path} holds memories that are NaN or infinite")
    model.memories.data = memories.to(device=check_device(device), dtype=dtype)
    return model


def check_power(power: float) -> float:
    """n as a float; InputError unless it is a finite number >= 1."""
    valid = isinstance(power, Real) and not isinstance(power, bool)
    if not (valid and math.isfinite(power) and power >= 1):
        raise InputError(f"power = {power!r}: wanted a number n >= 1")
    return float(power)


def check_temperature(temperature: float) -> float:
    """T as a float; InputError unless it is a finite number > 0."""
    valid = isinstance(temperature, Real) and not isinstance(temperature, bool)
    if not (valid and math.isfinite(temperature) and temperature > 0):
        raise InputError(f"temperature = {temperature!r}: wanted a number T > 0")
    return float(temperature)


def check_device(device: torch.device | str) -> torch.device:
    """The device; InputError where there is none of that name."""
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {device} cannot be used here: {reason}") from error
    return found


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
            raise InputError(f"{name} = {size!r}: wanted a whole number >= 1")

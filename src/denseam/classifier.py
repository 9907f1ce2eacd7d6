"""What all networks here have in common, whatever their energy: one matrix of memories, one head.

Training, attacks, transfer and analysis ask for no more than a ``Classifier``. The dense
associative memory of the paper is one (``model.py``), so are the networks it is compared with
(``baselines/``).
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

import torch
from torch import Tensor, nn

from denseam.checks import choice, number, seed_of, whole
from denseam.data.validate import check_visible
from denseam.errors import InputError
from denseam.files import save_tensors
from denseam.presets import Preset

__all__ = [
    "HEADS",
    "Classifier",
    "HeadName",
    "check_device",
    "check_head",
    "check_power",
    "check_temperature",
]

MOST_POWER = 1e6  # a field of float32 is off by 6e-8, its power by 6 % here and by all beyond
_SAVED = (torch.float64, torch.float32, torch.bfloat16, torch.float16)  # what ``load`` reads

HeadName = Literal["log_energy", "energy_gap", "tanh"]
HEADS: tuple[HeadName, ...] = get_args(HeadName)


class Classifier(nn.Module):
    """A network whose only parameters are memories; subclasses say what its energy gap is.

    Sizes: B images, N visible neurons, K memories, C classes. Images are ``visible``: (B, N) in
    [-1, 1], of the memories' dtype and on their device.

    Args:
        n_visible: N, pixels of an image.
        n_classes: C.
        n_memories: K.
        power: 1 <= n <= 10^6, of the rectified polynomial.
        temperature: T > 0, the scale of an overlap.
        seed: of the initial memories, which are normal, clipped to [-1, 1]; 64 bits.
        dtype: float32 or float64.
        device: where the memories live.

    Raises:
        InputError: for sizes below 1, n < 1, T <= 0, another seed or dtype.
    """

    kind: ClassVar[str]  # the name in files and on the command line
    initial: ClassVar[tuple[float, float]]  # mean and deviation of the memories to begin with
    presets: ClassVar[Mapping[float, Preset]]  # training values by power, see ``Recipe.paper``
    only_power: ClassVar[float | None] = None  # n, for a network that has no other
    products: ClassVar[tuple[str, ...]] = ("full",)  # precisions it can be trained with
    compares_distances: ClassVar[bool] = False  # T scales distances to memories, not overlaps
    learns: ClassVar[bool] = True  # training changes its memories
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
        if dtype not in (torch.float32, torch.float64):
            raise InputError(f"dtype = {dtype}: wanted torch.float32 or torch.float64")
        self.n_visible, self.n_classes = (
            whole("n_visible", n_visible),
            whole("n_classes", n_classes),
        )
        n_memories, components = whole("n_memories", n_memories), self.n_visible + self.n_classes
        self._power = check_power(power)
        self._temperature = check_temperature(temperature)
        start = self.initial_memories(n_memories, components, seed=seed_of(seed), dtype=dtype)
        self.memories = nn.Parameter(start.to(check_device(device)))

    @classmethod
    def initial_memories(
        cls,
        n_memories: int,
        components: int,
        *,
        seed: int,
        dtype: torch.dtype = torch.float32,
        rows: slice | None = None,
    ) -> Tensor:
        """The first memories of a network, (K, N + C), or only some rows of them.

        Rows are the same whichever are asked for, and without memory for the others: those of a
        network that is divided among processes come from one stream of random numbers.
        """
        first, end, _ = (rows or slice(None)).indices(n_memories)
        start = torch.empty(end - first, components, dtype=dtype)
        generator = torch.Generator().manual_seed(seed)
        for block in _blocks(n_memories):
            drawn = torch.empty(block.stop - block.start, components, dtype=dtype)
            drawn.normal_(*cls.initial, generator=generator)
            low, high = max(first, block.start), min(end, block.stop)
            if low < high:
                start[low - first : high - first] = drawn[low - block.start : high - block.start]
        return start.clamp_(-1, 1)

    @property
    def n_memories(self) -> int:
        """K."""
        return self.memories.shape[0]

    @property
    def power(self) -> float:
        """n, of the rectified polynomial."""
        return self._power

    @property
    def temperature(self) -> float:
        """T; may be set."""
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
        """(B, N) -> (B, C): the argument of tanh in Eq. 2.1.

        Raises:
            InputError: when ``visible`` is not (B, N) in [-1, 1] in the model's dtype.
        """
        self._check(visible)
        return self._scores(visible, "energy_gap")

    def log_energy(self, visible: Tensor) -> Tensor:
        """(B, N) -> (B, C): scores with the argmax of Y that never saturate.

        The logarithm of the energy where there is one, the energy gap itself otherwise.

        Raises:
            InputError: when ``visible`` is not (B, N) in [-1, 1] in the model's dtype.
        """
        self._check(visible)
        return self._scores(visible, "log_energy")

    def predict(self, visible: Tensor) -> Tensor:
        """Labels, (B, N) -> (B,) int64: argmax of Y, decided before tanh can saturate.

        Raises:
            InputError: when ``visible`` is not (B, N) in [-1, 1] in the model's dtype.
        """
        with torch.no_grad():
            return self.log_energy(visible).argmax(dim=1)

    def scores(self, visible: Tensor, head: HeadName) -> Tensor:
        """(B, N) -> (B, C): what a head says of images, also of ones beyond [-1, 1].

        For those who search outside of the box, as attacks of other people's toolkits do. A row
        with a pixel that is NaN or infinite becomes NaN.

        Raises:
            InputError: for another head.
        """
        check_head(head)
        gap_or_log: HeadName = "energy_gap" if head == "tanh" else head
        found = self._scores(visible, gap_or_log)
        finite = visible.detach().isfinite().all(dim=1, keepdim=True)
        if not torch.compiler.is_compiling() and not bool(finite.all()):
            found = torch.where(finite, found, torch.nan)
        return torch.tanh(found) if head == "tanh" else found

    def exact_scores(self, visible: Tensor) -> Tensor:
        """(B, N) -> (B, C) float64: the scores that never saturate, for images of any range.

        Before they are rounded to the model's dtype, where that matters. Their gradient is that of
        the rounded ones.
        """
        return self.scores(visible, "log_energy").double()

    def _scores(self, visible: Tensor, head: HeadName) -> Tensor:
        """The energy gap, or the scores that never saturate; no checks."""
        raise NotImplementedError

    def save(self, path: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write the model to one safetensors file, atomically; ``denseam.load`` reads it.

        Args:
            path: the file.
            dtype: what to round the memories to, such as ``torch.float16`` for half the size; as
                they are by default. A model that was rounded is loaded in float32.

        Raises:
            InputError: for another dtype than float64, float32, bfloat16 and float16.
            SaveError: when it cannot be written; what stood there is untouched.
        """
        if dtype is not None and dtype not in _SAVED:
            *others, last = map(str, _SAVED)
            raise InputError(f"dtype = {dtype!r}: wanted {', '.join(others)} or {last}")
        save_tensors(Path(path), "model", self.tensors(dtype), self.settings())

    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """What is saved, rounded to ``dtype`` where one is given."""
        return {"memories": self.memories if dtype is None else self.memories.to(dtype)}

    def settings(self) -> dict[str, Any]:
        """What the model computes with besides its tensors, as plain JSON values."""
        return {
            "network": self.kind,
            "power": self.power,
            "temperature": self.temperature,
            "n_visible": self.n_visible,
        }

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """The model with these ``tensors`` and ``settings``; float64 stays, others become float32.

        Raises:
            KeyError, TypeError, ValueError: when they are not whole.
        """
        memories, n_visible = tensors["memories"], int(settings["n_visible"])
        n_memories, components = memories.shape
        dtype = memories.dtype if memories.dtype is torch.float64 else torch.float32
        model = cls(
            n_visible, components - n_visible, n_memories, settings["power"],
            settings["temperature"], dtype=dtype,
        )  # fmt: skip
        if not memories.is_floating_point():
            raise InputError(f"memories of {memories.dtype}: wanted floating ones")
        if not bool(memories.isfinite().all()):
            raise InputError("memories that are NaN or infinite")
        model.memories.data = memories.to(dtype)
        return model

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


def check_power(power: float) -> float:
    """Return n as a float; InputError unless it is a number from 1 to 10^6."""
    return number("power", power, least=1, most=MOST_POWER)


def check_temperature(temperature: float) -> float:
    """Return T as a float; InputError unless it is a finite number > 0."""
    return number("temperature", temperature, above=0)


def check_head(head: HeadName) -> None:
    """Raise InputError unless it is one of ``HEADS``."""
    choice("head", head, HEADS)


def check_device(device: torch.device | str) -> torch.device:
    """The device; InputError where there is none of that name."""
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).item()  # "meta" has tensors and no numbers
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"device {device} cannot be used here: {reason}") from error
    return found


# PyTorch draws normal numbers sixteen at a time. Blocks of so many rows, the last of them longer,
# give the numbers that one draw would.
_BLOCK = 4096


def _blocks(n_memories: int) -> list[slice]:
    cuts = [*range(0, max(1, n_memories - _BLOCK), _BLOCK), n_memories]
    return [slice(first, end) for first, end in itertools.pairwise(cuts)]

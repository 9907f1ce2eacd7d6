"""Recipe: everything that decides what a training run learns, and the paper's presets."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch

from denseam.baselines import NETWORKS
from denseam.classifier import check_power, check_temperature
from denseam.data import ImageSet
from denseam.errors import InputError
from denseam.kernels.choice import PRODUCTS
from denseam.training.fields import exact, number, whole

__all__ = ["Recipe"]

PAPER_EPOCHS = 3000
PAPER_DECAY = 0.998
PAPER_RAMP = 200
SHORT_EPOCHS = 300
SHORTEST_EPOCHS = 20
MOST_LOSS_POWER = 500  # (Y - t)^(2m) reaches 4^m, which must stay finite
MOST_SEED = 2**32 - 1  # PyTorch's generator drops the bits above
_RANGES = {  # lowest, highest, whether the lowest itself is too low
    "loss_power": (1, MOST_LOSS_POWER, False),
    "learning_rate": (0, 2, True),
    "learning_rate_decay": (0, 1, True),
    "momentum": (0, 1 - 1e-9, False),
}


class _Preset(NamedTuple):
    """What depends on the power, for 784 pixels.

    NIPS16, appendix A, gives ranges for m, T and eps_0; these are the values in them that trained
    well over 300 epochs (docs/developers/log.md). At n = 20 and 30 the temperature is constant.
    """

    loss_power: float  # m
    temperature_start: float  # T_i
    temperature: float  # T_f
    ramp: float  # the part of the epochs that T takes from T_i to T_f, at most 200 epochs
    learning_rate: float  # eps_0, of 300 epochs
    last_step: float  # eps after 300 epochs, as a part of eps_0
    longest_rate: float  # eps_0, of 3000 epochs


_PRESETS = {
    2: _Preset(4, 400, 100, 1 / 2, 0.02, 0.16, 0.02),
    3: _Preset(4, 400, 100, 1 / 3, 0.04, 0.06639, 0.04),
    20: _Preset(30, 560, 560, 1 / 3, 0.02, 0.03, 0.02),
    30: _Preset(30, 600, 600, 1 / 3, 0.02, 0.015, 0.01),  # larger steps for long: memories die
}
# The networks of section 7: chosen by the error on held-out images (docs/developers/log.md).
_NETWORK_PRESETS = {
    "relu": _Preset(4, 20, 20, 0, 0.01, 0.02, 0.01),
    "polynomial": _Preset(4, 20, 20, 0, 0.01, 0.02, 0.01),
    "rbf": _Preset(2, 10, 10, 0, 0.04, 0.02, 0.04),
    "nearest": _Preset(1, 10, 10, 0, 0.04, 1, 0.04),
}
# Dense associative memories, whose presets go by the power.
_MEMORIES = ("dam", "exponential")
# Those whose power is not theirs to choose.
_POWERS = {"relu": 2.0, "rbf": 2.0, "nearest": 1.0}

# A very short run has to cover the same way in fewer steps: over 20 epochs, at any power.
_SHORTEST_RATE, _SHORTEST_LAST_STEP = 0.04, 0.25

# The mean over MNIST's training images of sum_i |v_i|: the scale of the overlaps that the
# temperatures above were chosen for; tests/training/test_recipe.py computes it.
MNIST_SCALE = 741.3


@dataclass(frozen=True)
class Recipe:
    """How to train a dense associative memory; symbols are those of NIPS16, appendix A.

    Two runs with equal recipes, data and thread count end in the same bits. Epochs count from 0.

    Attributes:
        power: n >= 1.
        loss_power: m >= 1, of the objective sum (Y - t)^(2m).
        temperature: T_f > 0, from the end of the ramp on.
        temperature_start: T_i > 0; equal to temperature where there is no ramp.
        temperature_epochs: length of the linear ramp from T_i to T_f.
        learning_rate: eps_0, the largest step of a component of a memory.
        learning_rate_decay: f, per epoch: eps = eps_0 f^epoch.
        momentum: p.
        epochs: how many.
        n_memories: K.
        per_class: images of each class in a minibatch.
        seed: of the initial memories and of the order of the images.
        dtype: "float32" or "float64".
        products: "full", in dtype; faster: "8-bit" (kernels/eightbit.py), on a card "tf32" or
            "bfloat16" (docs/gpu.md).
        network: "dam", or one of denseam.baselines: "exponential", "relu", "polynomial", ...
        binarised: whether it sees every pixel as -1 or +1.

    Raises:
        InputError: for a value out of range, and for a ramp by which (T_i / T_f)^n leaves the range
            of dtype: beyond the square root of it, so that gradients have the other half.
    """

    power: float
    loss_power: float
    temperature: float
    temperature_start: float
    temperature_epochs: int
    learning_rate: float
    learning_rate_decay: float
    momentum: float = 0.9
    epochs: int = PAPER_EPOCHS
    n_memories: int = 2000
    per_class: int = 100
    seed: int = 0
    dtype: str = "float32"
    products: str = "full"
    network: str = "dam"
    binarised: bool = False

    def __post_init__(self) -> None:
        self._set("power", check_power(self.power))
        self._set("temperature", check_temperature(self.temperature))
        start = number("temperature_start", self.temperature_start, 0, math.inf, open_low=True)
        self._set("temperature_start", start)
        for name in ("temperature_epochs", "epochs", "n_memories", "per_class", "seed"):
            least = 0 if name in ("temperature_epochs", "seed") else 1
            self._set(name, whole(name, getattr(self, name), least))
        if self.seed > MOST_SEED:
            raise InputError(f"seed = {self.seed}: wanted a whole number < 2^32")
        for name, (low, high, open_low) in _RANGES.items():
            self._set(name, number(name, getattr(self, name), low, high, open_low=open_low))
        if self.dtype not in ("float32", "float64"):
            raise InputError(f"dtype = {self.dtype!r}: wanted 'float32' or 'float64'")
        if self.products not in PRODUCTS:
            raise InputError(f"products = {self.products!r}: wanted {', '.join(PRODUCTS)}")
        if self.products != "full" and self.dtype != "float32":
            raise InputError(
                f"{self.products} products go with dtype 'float32', not {self.dtype!r}"
            )
        self._check_network()
        self._check_ramp()

    def _set(self, name: str, value: float) -> None:
        """What was checked, as a number of Python."""
        object.__setattr__(self, name, value)

    def _check_ramp(self) -> None:
        """InputError where ``gradient_scale_at`` would leave its half of the range."""
        most = math.log(torch.finfo(getattr(torch, self.dtype)).max) / 2
        T_i, T_f = self.temperature_start, self.temperature
        exponent = self.power * (math.log(T_i) - math.log(T_f))
        if self.temperature_epochs and abs(exponent) > most:
            raise InputError(
                f"temperature_start = {T_i:g} with temperature = {T_f:g} at power = "
                f"{self.power:g}: (T_i / T_f)^n = 10^{exponent / math.log(10):.0f} leaves "
                f"{self.dtype} no room for gradients: wanted nearer temperatures, 10^"
                f"{-most / math.log(10):.0f} to 10^{most / math.log(10):.0f}"
            )

    def _check_network(self) -> None:
        if self.network not in NETWORKS:
            raise InputError(f"network = {self.network!r}: wanted {', '.join(NETWORKS)}")
        if self.power != _POWERS.get(self.network, self.power):
            raise InputError(
                f"power = {self.power:g}: network {self.network!r} has {_POWERS[self.network]:g}"
            )
        if not isinstance(self.binarised, bool):
            raise InputError(f"binarised = {self.binarised!r}: wanted True or False")
        if self.products != "full" and self.network != "dam":
            raise InputError(
                f"{self.products} products are for network 'dam', not {self.network!r}"
            )

    @classmethod
    def paper(
        cls,
        power: float | None = None,
        epochs: int = PAPER_EPOCHS,
        *,
        network: str = "dam",
        **overrides: Any,
    ) -> Self:
        """The paper's procedure for a power, over any number of epochs.

        * n = 2, 3, 20, 30 have presets. Between them every value is interpolated in log n; below
          2 and above 30 the nearest preset holds.
        * 3000 epochs decay by the paper's f = 0.998. With fewer, the steps shrink faster: the part
          of the first step that is left at the end is set for 20, 300 and 3000 epochs, and
          interpolated in log epochs. Below 300 epochs the first step grows, up to 0.04 at 20;
          above, it shrinks at n = 30, down to 0.01 at 3000.
        * The temperature ramp takes half of the epochs at n = 2 and a third of them from n = 3 on,
          at most the paper's 200.
        * "exponential" has the presets of its power. The other networks have one each for any
          number of epochs, with a constant temperature.

        Args:
            power: n >= 1; not needed for "relu", "rbf" and "nearest", which have but one.
            epochs: how many.
            network: "dam", or one of ``denseam.baselines`` to be trained by the same rule.
            **overrides: any field of ``Recipe``, by name.

        Raises:
            InputError: for a value out of range or a name that is no field.
        """
        if network not in NETWORKS:
            raise InputError(f"network = {network!r}: wanted {', '.join(NETWORKS)}")
        if power is None:
            power = _POWERS.get(network)
        if power is None:
            raise InputError(f"power: network {network!r} needs one, n >= 1")
        power, epochs = check_power(power), whole("epochs", epochs, 1)
        by_power = network in _MEMORIES
        preset = _preset(power) if by_power else _NETWORK_PRESETS[network]
        rate, last_step = (
            _steps(preset, epochs) if by_power else (preset.learning_rate, preset.last_step)
        )
        ramps = preset.temperature_start != preset.temperature
        fields: dict[str, Any] = {
            "power": power,
            "loss_power": round(preset.loss_power, 1),
            "temperature": float(round(preset.temperature)),
            "temperature_start": float(round(preset.temperature_start)),
            "temperature_epochs": min(PAPER_RAMP, round(epochs * preset.ramp)) if ramps else 0,
            "learning_rate": round(rate, 4),
            "learning_rate_decay": round(last_step ** (1 / epochs), 6),
            "epochs": epochs,
            "network": network,
        }
        return cls._from_fields(fields).replace(**overrides)

    def replace(self, **fields: Any) -> Self:
        """The same recipe with other values in some fields.

        A constant temperature stays constant: where there is no ramp, ``temperature`` alone
        moves ``temperature_start`` along.

        Raises:
            InputError: for a value out of range or a name that is no field.
        """
        if self.temperature_epochs == 0 and "temperature" in fields:
            fields = {"temperature_start": fields["temperature"], **fields}
        return self._from_fields({**self.to_json(), **fields})

    def for_data(self, images: ImageSet) -> Self:
        """The same recipe with temperatures on the scale of these images' overlaps.

        An overlap is at most sum_i |v_i|, which grows with the number of pixels and shrinks with
        grey ones; temperatures follow its mean, relative to MNIST's, to three digits.
        """
        scale = float(images.visible().abs().sum(dim=1).mean()) / MNIST_SCALE
        if self.network in ("rbf", "nearest"):  # temperatures are distances there, not overlaps
            scale = math.sqrt(scale)
        if abs(scale - 1) < 0.005:  # MNIST itself, or as good as
            return self
        return self.replace(
            temperature=_three_digits(self.temperature * scale),
            temperature_start=_three_digits(self.temperature_start * scale),
        )

    # ---- schedules ---------------------------------------------------------------------------

    def learning_rate_at(self, epoch: int) -> float:
        """eps of an epoch."""
        return self.learning_rate * self.learning_rate_decay**epoch

    def temperature_at(self, epoch: int) -> float:
        """T of an epoch: linear from T_i to T_f, then constant."""
        if epoch >= self.temperature_epochs:
            return self.temperature
        part = epoch / self.temperature_epochs
        return self.temperature_start + part * (self.temperature - self.temperature_start)

    def gradient_scale_at(self, epoch: int) -> float:
        """(T / T_f)^n: what keeps the units of the velocity through the ramp."""
        return float((self.temperature_at(epoch) / self.temperature) ** self.power)

    # ---- JSON --------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values; ``from_json`` takes them back."""
        return dataclasses.asdict(self)

    def command(self) -> str:
        """The command that trains by it on the whole of MNIST, without its ``--out``.

        Options that are those of the preset are left out.
        """
        words = ["denseam", "train"]
        words += [] if self.network == "dam" else ["--model", self.network]
        words += [] if self.network in _POWERS else ["--power", exact(self.power)]
        words += [] if self.network == "nearest" else ["--epochs", str(self.epochs)]
        preset = self.paper(self.power, self.epochs, network=self.network).to_json()
        for name, value in self.to_json().items():
            if value != preset[name]:
                given = [] if value is True else [f"{value}"]
                words += [f"--{name.replace('_', '-')}", *given]
        return " ".join(words)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """The recipe of ``to_json``.

        Raises:
            InputError: when a field is missing, unknown or out of range.
        """
        return cls._from_fields(fields)

    @classmethod
    def _from_fields(cls, fields: Mapping[str, Any]) -> Self:
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(fields) - set(known))
        if unknown:
            raise InputError(f"a recipe has no {', '.join(unknown)}; it has {', '.join(known)}")
        try:
            return cls(**fields)
        except TypeError as error:
            raise InputError(f"not a whole recipe: {error}") from error


def _preset(power: float) -> _Preset:
    """Every value linear in log n between the presets, and constant outside."""
    powers = sorted(_PRESETS)
    nearest = min(max(power, powers[0]), powers[-1])
    upper = next(p for p in powers if p >= nearest)
    lower = max(p for p in powers if p <= nearest)
    pairs = zip(_PRESETS[lower], _PRESETS[upper], strict=True)
    return _Preset(*(_between(nearest, lower, upper, low, high) for low, high in pairs))


def _steps(preset: _Preset, epochs: int) -> tuple[float, float]:
    """The first step eps_0, and the part of it that is left in the end."""
    last = math.log(preset.last_step)
    if epochs >= SHORT_EPOCHS:
        span = min(epochs, PAPER_EPOCHS), SHORT_EPOCHS, PAPER_EPOCHS
        first = _between(*span, preset.learning_rate, preset.longest_rate)
        return first, math.exp(_between(*span, last, PAPER_EPOCHS * math.log(PAPER_DECAY)))
    span = max(epochs, SHORTEST_EPOCHS), SHORTEST_EPOCHS, SHORT_EPOCHS
    first = _between(*span, _SHORTEST_RATE, preset.learning_rate)
    return first, math.exp(_between(*span, math.log(_SHORTEST_LAST_STEP), last))


def _between(x: float, low_x: float, high_x: float, low: float, high: float) -> float:
    """Linear in log x, from low at low_x to high at high_x."""
    part = 0.0 if low_x == high_x else math.log(x / low_x) / math.log(high_x / low_x)
    return low + part * (high - low)


def _three_digits(x: float) -> float:
    return float(f"{x:.3g}")

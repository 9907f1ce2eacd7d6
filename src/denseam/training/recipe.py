"""Recipes: everything that determines the result of a training run."""

import dataclasses
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self, get_args

import torch
from torch import nn

from denseam.baselines import NETWORKS, Prototypes
from denseam.checks import choice, exact, number, whole
from denseam.classifier import check_power, check_temperature
from denseam.convolutional import ConvolutionalAM, check_patch
from denseam.data import Examples
from denseam.energies import FUNCTIONS, RectifiedPolynomial
from denseam.errors import InputError
from denseam.fronts import Convolutional, Table
from denseam.fronts.convolutional import check_levels
from denseam.kernels import OBJECTIVES
from denseam.kernels.choice import PRECISIONS
from denseam.model import DenseAM
from denseam.presets import PAPER_EPOCHS, preset_at
from denseam.showing import Drawn, Shown
from denseam.training.adversarial import (
    Adversarial,
    Perturbations,
    Threat,
    check_radius,
    check_threats,
    threats,
)
from denseam.training.augment import Distort, MovedThenAttacked, Shift
from denseam.training.batches import SAMPLING, BatchRule

__all__ = ["COMMAND_EPOCHS", "Recipe"]

INITIAL = ("normal", "samples", "classes")
FRONTS = ("none", Table.name, Convolutional.name)
KEEP = ("last", "best", "best-attacked")

COMMAND_EPOCHS = 300  # of `denseam train`: errors close to the paper's in minutes
MOST_LOSS_POWER = 500  # (Y - t)^(2m) reaches 4^m, which must stay finite
MOST_SEED = 2**32 - 1  # PyTorch's generator drops the bits above

# The mean over MNIST's training images of sum_i |v_i|: the scale of the overlaps that the
# presets' temperatures were chosen for; tests/training/test_recipe.py computes it.
MNIST_SCALE = 741.3


@dataclass(frozen=True, repr=False)
class Recipe(Shown, Drawn):
    """The hyperparameters of a training run; symbols are those of NIPS16, appendix A.

    Two runs with equal recipes, data and thread count end in the same bits. Epochs count from 0.

    Attributes:
        power: n >= 1.
        loss_power: m >= 1, of the objective sum (Y - t)^(2m).
        temperature: T_f > 0, from the end of the ramp on.
        temperature_start: T_i > 0, at the start of the ramp; equal to T_f without a ramp.
        temperature_epochs: length of the linear ramp from T_i to T_f.
        learning_rate: eps_0, the largest first step of a component of a memory.
        learning_rate_decay: f, per epoch: eps = eps_0 f^epoch.
        momentum: p.
        epochs: how often every image is shown.
        n_memories: K.
        per_class: images of each class in a minibatch.
        seed: of the initial memories and of the order of the images.
        dtype: of memories and images.
        products: precision of the matrix products; faster than "full" are "8-bit" on a CPU, "tf32"
            and "bfloat16" on a GPU (docs/gpu.md).
        network: "dam", or one of ``denseam.baselines``.
        binarised: show the network every pixel as -1 or +1.
        energy: energy function of a "dam", matched to power and temperature, see
            ``denseam.energies``.
        objective: "paper", the sum above; "cross-entropy" or "margin" of log-energies, which do not
            saturate: see ``denseam.kernels.objectives``.
        logit_scale: factor of log-energies in these two.
        adversarial: learn from attacked images too: norm and size in [0, 1] units, such as
            "l2:1.5" or "linf:0.3"; with several, "l2:2.0,linf:0.3", each image meets one.
        adversarial_steps: of the attack.
        perturbations: of these attacks: "fresh" ones for every batch; "fast", of one step; or
            "free", one step at each of ``adversarial_steps`` showings of the batch, see
            ``Adversarial``.
        attacked_target: what attacked images are to answer: their "label", or what the network
            answers to the "clean" image (TRADES, Zhang et al. 2019): the objective is then 1 - mix
            times the cross-entropy of clean images, and mix times the divergence of answers.
        adversarial_ramp: share of the epochs in which the size of attacks grows from 0.
        mix: share of attacked images in what is learned: 0.5 for as many as clean ones.
        shift: probability that an image is shown moved by one pixel.
        distort: probability that an image is shown turned, stretched and slanted a little.
        average: epochs that a moving average of the memories looks back; the average is tested
            and becomes the model. 0 for none.
        keep: the epoch whose memories become the model: the "last", or the one with the least error
            on a tenth of the training images, at most 1000, which are held out: "best", or
            "best-attacked" by the attacks of ``adversarial`` in 20 steps.
        certify: norm and radius, such as "l2:1.58" in [0, 1] units, within which "prototypes" keep
            the labels of images; training aims at 1.6 times as much.
        initial: memories begin as normal random numbers ("normal", as in the paper), as training
            examples ("samples"), or near the means of their classes ("classes").
        sampling: of a batch: "balanced" shows equally many images of every class, "natural" as
            many as there are.
        front: "table" standardises features and lifts them onto a sphere, see ``fronts.Table``;
            "convolutional" learns with the memories, see ``fronts.Convolutional``; with "none"
            memories look at the pixels.
        levels: of this front: channels x kernel / pool of each, and perhaps a number of features,
            such as "16x5/2,32x3/2,256".
        front_rate: first step of the usual optimiser (AdamW), by which such a front learns.
        patch: side of the memories of "conv-dam" and the distance between two places, such as
            "4/1"; the whole map where it is empty.

    Raises:
        InputError: for a value out of range, and for a ramp where (T_i / T_f)^n exceeds the square
            root of the dtype's range: gradients need the other half.

    >>> recipe = Recipe.paper(20, epochs=300, n_memories=500)
    >>> recipe.temperature_at(0), recipe.temperature_at(299)
    (560.0, 560.0)
    """

    _figure: ClassVar[str] = "training"

    power: float = field(metadata={"check": check_power})
    loss_power: float = field(metadata={"least": 1, "most": MOST_LOSS_POWER})
    temperature: float = field(metadata={"check": check_temperature})
    temperature_start: float = field(metadata={"above": 0})
    temperature_epochs: int = field(metadata={"least": 0})
    learning_rate: float = field(metadata={"above": 0, "most": 2})
    learning_rate_decay: float = field(metadata={"above": 0, "most": 1})
    momentum: float = field(default=0.9, metadata={"least": 0, "below": 1})
    epochs: int = PAPER_EPOCHS
    n_memories: int = 2000
    per_class: int = 100
    seed: int = field(default=0, metadata={"least": 0, "most": MOST_SEED})
    dtype: str = field(default="float32", metadata={"choices": ("float32", "float64")})
    products: str = field(default="full", metadata={"choices": PRECISIONS})
    network: str = field(default="dam", metadata={"choices": NETWORKS, "option": "model"})
    binarised: bool = field(default=False, metadata={"choices": (True, False)})
    energy: str = field(default=RectifiedPolynomial.name, metadata={"choices": FUNCTIONS})
    objective: str = field(default="paper", metadata={"choices": OBJECTIVES})
    logit_scale: float = field(default=250.0, metadata={"above": 0})
    adversarial: str = field(default="", metadata={"check": check_threats})
    adversarial_steps: int = field(default=5, metadata={"least": 1})
    perturbations: str = field(default="fresh", metadata={"choices": get_args(Perturbations)})
    attacked_target: str = field(default="label", metadata={"choices": ("label", "clean")})
    adversarial_ramp: float = field(default=0.5, metadata={"least": 0, "most": 1})
    mix: float = field(default=0.5, metadata={"above": 0, "most": 1})
    shift: float = field(default=0.0, metadata={"least": 0, "most": 1})
    distort: float = field(default=0.0, metadata={"least": 0, "most": 1})
    average: float = field(default=0.0, metadata={"least": 0})
    keep: str = field(default="last", metadata={"choices": KEEP})
    certify: str = field(default="", metadata={"check": check_radius})
    initial: str = field(default="normal", metadata={"choices": INITIAL})
    sampling: str = field(default="balanced", metadata={"choices": SAMPLING})
    front: str = field(default="none", metadata={"choices": FRONTS})
    levels: str = field(default="", metadata={"check": check_levels})
    front_rate: float = field(default=0.005, metadata={"above": 0})
    patch: str = field(default="", metadata={"check": check_patch})

    def __post_init__(self) -> None:
        for each in fields(self):
            value = _checked(each, getattr(self, each.name))
            object.__setattr__(self, each.name, value)
        if self.products != "full" and self.dtype != "float32":
            raise InputError(
                f"{self.products} products go with dtype 'float32', not {self.dtype!r}"
            )
        kind = NETWORKS[self.network]
        if kind.only_power not in (None, self.power):
            raise InputError(
                f"power = {self.power:g}: network {self.network!r} has {kind.only_power:g}"
            )
        if self.products not in kind.products:
            able = [name for name, each in NETWORKS.items() if self.products in each.products]
            raise InputError(
                f"{self.products} products are for network {', '.join(map(repr, able))}, not "
                f"{self.network!r}"
            )
        if self.energy != RectifiedPolynomial.name and self.network != DenseAM.kind:
            raise InputError(f"energy = {self.energy!r}: network {self.network!r} has its own")
        if self.certify and self.network != Prototypes.kind:
            raise InputError(
                f"certify = {self.certify!r}: wanted network {Prototypes.kind!r}, got "
                f"{self.network!r}"
            )
        if self.attacked_target == "clean" and not (
            self.adversarial and self.objective == "cross-entropy"
        ):
            raise InputError(
                "attacked_target = 'clean': wanted objective 'cross-entropy', and adversarial "
                f"training; got objective {self.objective!r}, adversarial = {self.adversarial!r}"
            )
        if not kind.learns and (self.average or self.keep != "last"):
            raise InputError(
                f"network {self.network!r} learns nothing to average or to choose from"
            )
        self._check_front()
        self._check_ramp()

    def _check_front(self) -> None:
        """Raise InputError for convolutions that do not go with the network."""
        kind = NETWORKS[self.network]
        if ("front" in kind.usual) != (self.front == Convolutional.name):
            able = [name for name, each in NETWORKS.items() if "front" in each.usual]
            raise InputError(
                f"front = {self.front!r}: network {self.network!r} takes another; "
                f"{Convolutional.name!r} goes with {', '.join(able)}"
            )
        if (self.levels != "") != (self.front == Convolutional.name):
            raise InputError(f"levels = {self.levels!r} with front = {self.front!r}")
        if self.patch and self.network != ConvolutionalAM.kind:
            raise InputError(
                f"patch = {self.patch!r}: wanted network {ConvolutionalAM.kind!r}, got "
                f"{self.network!r}"
            )

    def _check_ramp(self) -> None:
        """Raise InputError where ``gradient_scale_at`` would leave its half of the range."""
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

    def _summary(self) -> str:
        """Return the fields that have no default, or another value."""
        values = ((each, getattr(self, each.name)) for each in fields(self))
        return ", ".join(f"{each.name}={x!r}" for each, x in values if x != each.default)

    def _rows(self) -> dict[str, list[Any]]:
        return {"field": [*self.to_json()], "value": [*self.to_json().values()]}

    @classmethod
    def paper(
        cls,
        power: float | None = None,
        epochs: int = PAPER_EPOCHS,
        *,
        network: str = "dam",
        **overrides: Any,
    ) -> Self:
        """Return the recipe of the paper for a power, over any number of epochs.

        * n = 2, 3, 20, 30 have presets. Between them every value is interpolated in log n; below
          2 and above 30 the nearest preset holds.
        * 3000 epochs decay by the paper's f = 0.998. With fewer, steps shrink faster: the ratio of
          the last step to the first is set for 20, 300 and 3000 epochs, and interpolated in log
          epochs. Below 300 epochs the first step grows, up to 0.04 at 20; above 300 it shrinks at
          n = 30, down to 0.01 at 3000.
        * The temperature ramp takes half of the epochs at n = 2 and a third of them from n = 3 on,
          at most the paper's 200.
        * "exponential" has the same presets. The other networks have one each, for any power and
          number of epochs, with a constant temperature.

        Args:
            power: n >= 1; may be left out for "relu", "rbf" and "nearest", which have only one.
            epochs: how often every image is shown.
            network: "dam", or one of ``denseam.baselines``, trained by the same rule.
            **overrides: any field of ``Recipe``, by name.

        Raises:
            InputError: for a value out of range or a name that is no field.
        """
        kind = NETWORKS[choice("network", network, NETWORKS)]
        power = kind.only_power if power is None else power
        if power is None:
            raise InputError(f"power: network {network!r} needs one, n >= 1")
        power, epochs = check_power(power), whole("epochs", epochs)
        preset = preset_at(kind.presets, power).over(epochs)
        values: dict[str, Any] = {
            "power": power,
            "loss_power": round(preset.loss_power, 1),
            "temperature": float(round(preset.temperature)),
            "temperature_start": float(round(preset.temperature_start)),
            "temperature_epochs": preset.ramp_epochs(epochs),
            "learning_rate": round(preset.learning_rate, 4),
            "learning_rate_decay": round(preset.last_step ** (1 / epochs), 6),
            "epochs": epochs,
            "network": network,
            **{name: value for name, value in kind.usual.items() if name != "epochs"},
        }
        return cls.from_json(values).replace(**overrides)

    def replace(self, **values: Any) -> Self:
        """Return this recipe with other values in some fields.

        A constant temperature stays constant: without a ramp, ``temperature`` also sets
        ``temperature_start``, unless that is given too.

        Raises:
            InputError: for a value out of range or a name that is no field.
        """
        if self.temperature_epochs == 0 and "temperature" in values:
            values = {"temperature_start": values["temperature"], **values}
        return self.from_json({**self.to_json(), **values})

    def for_data(self, images: Examples, front: nn.Module | None = None) -> Self:
        """Return this recipe with temperatures on the scale of these images' overlaps.

        An overlap is at most sum_i |v_i|, which grows with the number of pixels and shrinks with
        grey ones. Temperatures follow the mean of that sum, relative to MNIST's, to three digits.
        With a ``front``, images are what it makes of them.
        """
        if self.front == Convolutional.name:  # fitted to its features, see ``fit_recipe``
            return self
        visible = images.inputs()
        if front is not None:
            with torch.no_grad():
                visible = front(visible)
        scale = float(visible.abs().sum(dim=1).mean()) / MNIST_SCALE
        if NETWORKS[self.network].compares_distances:
            scale = math.sqrt(scale)
        if abs(scale - 1) < 0.005:  # MNIST itself, or images like it
            return self
        return self.replace(
            temperature=_three_digits(self.temperature * scale),
            temperature_start=_three_digits(self.temperature_start * scale),
        )

    def radius(self) -> Threat | None:
        """Return the norm and the radius that training for certificates is about, or None."""
        return threats(self.certify)[0] if self.certify else None

    def batch_rule(self, shape: Sequence[int]) -> BatchRule | None:
        """Return what changes the batches of images of a shape, or None."""
        moves: list[BatchRule] = [Shift(shape, self.shift)] if self.shift else []
        moves += [Distort(shape, self.distort)] if self.distort else []
        if not self.adversarial:
            return MovedThenAttacked(moves) if len(moves) > 1 else next(iter(moves), None)
        if len(shape) not in (2, 3):
            raise InputError(
                f"adversarial = {self.adversarial!r}: wanted pictures, whose pixels have sizes in "
                f"[0, 1] units; got examples of shape {tuple(shape)}"
            )
        attack = Adversarial.parse(
            self.adversarial, steps=self.adversarial_steps, perturbations=self.perturbations,
            mix=0.5 if self.attacked_target == "clean" else self.mix,
            ramp=round(self.adversarial_ramp * self.epochs),
        )  # fmt: skip
        return MovedThenAttacked(moves, attack) if moves else attack

    # ---- schedules ---------------------------------------------------------------------------

    def learning_rate_at(self, epoch: int) -> float:
        """Return eps of an epoch."""
        return self.learning_rate * self.learning_rate_decay**epoch

    def temperature_at(self, epoch: int) -> float:
        """Return T of an epoch: linear from T_i to T_f, then constant."""
        if epoch >= self.temperature_epochs:
            return self.temperature
        done = epoch / self.temperature_epochs
        return self.temperature_start + done * (self.temperature - self.temperature_start)

    def gradient_scale_at(self, epoch: int) -> float:
        """Return (T / T_f)^n, which keeps the units of the velocity through the ramp."""
        return float((self.temperature_at(epoch) / self.temperature) ** self.power)

    # ---- JSON --------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values, which ``from_json`` reads."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the recipe that ``to_json`` wrote.

        Raises:
            InputError: when a field is missing, unknown or out of range.
        """
        known = [each.name for each in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise InputError(f"a recipe has no {', '.join(unknown)}; it has {', '.join(known)}")
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(f"not a whole recipe: {error}") from error

    def command(self, dataset: str | None = None) -> str:
        """Return the command that trains by this recipe, without ``--out``.

        Options with the preset's values are left out.

        Args:
            dataset: what to train on; the whole of MNIST by default.
        """
        kind = NETWORKS[self.network]
        preset = self.paper(self.power, self.epochs, network=self.network)
        usual = {**preset.to_json(), "network": "dam", "epochs": COMMAND_EPOCHS}
        if preset.temperature_epochs == 0 and self.temperature != preset.temperature:
            usual["temperature_start"] = self.temperature  # as ``replace`` has it
        shown = {name for name, value in self.to_json().items() if value != usual[name]}
        shown |= {"power"} if kind.only_power is None else set()
        shown |= {"epochs"} if kind.learns else set()
        if dataset is not None or self.front != "none":  # where ``for_data`` would change them
            shown |= {"temperature", "temperature_start"}
        by_name = {each.name: each for each in fields(self)}
        words = ["denseam", "train"]
        for name in dict.fromkeys(("network", "power", "epochs", *by_name)):
            value = getattr(self, name)
            if name in shown:
                words.append(f"--{by_name[name].metadata.get('option', name).replace('_', '-')}")
                words += [] if value is True else [exact(value) if name == "power" else f"{value}"]
        words += [] if dataset is None else ["--dataset", shlex.quote(dataset)]
        if kind.learns and (self.epochs < COMMAND_EPOCHS or dataset is not None):
            words.append("--paper")  # where values would be found from the data
        return " ".join(words)


def _checked(each: "dataclasses.Field[Any]", value: Any) -> Any:
    """Return the value of a field as a plain Python value; InputError where it is out of range."""
    limits = dict(each.metadata)
    if "check" in limits:
        return limits["check"](value)
    if "choices" in limits:
        return choice(each.name, value, limits["choices"])
    return (whole if each.type is int else number)(each.name, value, **limits)


def _three_digits(x: float) -> float:
    return float(f"{x:.3g}")

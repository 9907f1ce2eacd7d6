"""The base class of all networks here: a front, one matrix of memories, three heads.

Training, attacks, transfer and analysis ask for no more than a ``Classifier``. The dense
associative memory of the paper is one (``model.py``), so are the networks it is compared with
(``baselines/``).
"""

import itertools
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from denseam import fronts
from denseam.checks import choice, number, seed_of, whole
from denseam.data import Examples
from denseam.data.arrays import square
from denseam.data.validate import check_visible
from denseam.energies import MOST_POWER
from denseam.errors import InputError
from denseam.files import save_tensors
from denseam.heads import HEADS, Head, HeadName, module_head
from denseam.inputs import as_inputs
from denseam.kernels import Kernel, Objective, Rule
from denseam.kernels.interface import Outcome
from denseam.mesh import Mesh
from denseam.onnx_graph import OnnxGraph
from denseam.precision import exactly, full_precision, in_full_precision
from denseam.presets import Preset
from denseam.showing import Drawn, Shown
from denseam.trained_on import TrainedOn

__all__ = [
    "HEADS",
    "Classifier",
    "HeadName",
    "bounded",
    "check_device",
    "check_head",
    "check_power",
    "check_temperature",
]

_ROOM = 2.0**24  # more than the terms of an overlap
_SAVED = (torch.float64, torch.float32, torch.bfloat16, torch.float16)  # what ``load`` reads


class Classifier(nn.Module, Shown, Drawn):
    """A network of memories behind a front; subclasses define its energy gap.

    Sizes: B inputs, N visible neurons, K memories, C classes. The front turns inputs into
    ``visible``, (B, N). Without one, inputs are ``visible`` themselves: (B, N) in [-1, 1], of
    the memories' dtype and on their device.

    A subclass has a ``kind``, presets, and ``_scores``; its row in ``baselines.NETWORKS`` makes it
    known to files, training and the command line.

    Args:
        n_visible: N, pixels of an image.
        n_classes: C.
        n_memories: K.
        power: 1 <= n <= 10^6, of the rectified polynomial; by default ``only_power``.
        temperature: T > 0, the scale of an overlap; by default ``usual_temperature``.
        front: a module from inputs to (B, N), see ``denseam.fronts``; none by default.
        seed: of the initial memories, which are normal, clipped to [-1, 1]; 64 bits.
        dtype: float32 or float64.
        device: where the memories live.

    Raises:
        InputError: for sizes below 1, n < 1, n that the network does not have, T <= 0, another seed
            or dtype.

    >>> class Votes(Classifier):
    ...     kind, initial = "votes", (0.0, 0.3)
    ...     def _scores(self, visible, head):
    ...         return visible @ self.visible_memories.T @ self.class_memories
    >>> Votes(784, 10, n_memories=50, power=1, temperature=1.0).predict(torch.zeros(2, 784))
    tensor([0, 0])
    """

    kind: ClassVar[str]  # the name in files and on the command line
    initial: ClassVar[tuple[float, float]]  # mean and deviation of the memories to begin with
    presets: ClassVar[Mapping[float, Preset]]  # training values by power, see ``Recipe.paper``
    only_power: ClassVar[float | None] = None  # n, for a network that has no other
    usual_temperature: ClassVar[float | None] = None  # T, where none is chosen
    products: ClassVar[tuple[str, ...]] = ("full",)  # precisions it can be trained with
    compares_distances: ClassVar[bool] = False  # T scales distances to memories, not overlaps
    learns: ClassVar[bool] = True  # training changes its memories
    dense: ClassVar[bool] = False  # its step is ``kernels.step``: on processes, cards, by products
    has_energy: ClassVar[bool] = False  # a sum over memories, of which one wins and others add
    usual: ClassVar[Mapping[str, Any]] = {}  # fields of its recipes that have other values
    level_power: ClassVar[float | None] = 2.0  # of a convolutional front, see there
    by_max_norm: ClassVar[bool] = True  # False: memories learn as a front does
    _figure: ClassVar[str] = "memories"
    _words: ClassVar[tuple[str, str]] = ("{kind}", "{kind}")  # see ``words``
    memories: nn.Parameter  # (K, N + C) in [-1, 1]
    trained_on: TrainedOn | None = None  # saved with the model

    def __init__(
        self,
        n_visible: int,
        n_classes: int,
        n_memories: int,
        power: float | None = None,
        temperature: float | None = None,
        *,
        front: nn.Module | None = None,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.n_visible = whole("n_visible", n_visible)
        self.n_classes = whole("n_classes", n_classes)
        self.front = nn.Identity() if front is None else front
        self._power = check_power(self.only_power if power is None else power)
        if self.only_power not in (None, self._power):
            raise InputError(f"power = {power!r}: network {self.kind!r} has {self.only_power:g}")
        temperature = self.usual_temperature if temperature is None else temperature
        self._temperature = check_temperature(temperature)
        start = self.initial_memories(
            whole("n_memories", n_memories), self.n_seen + self.n_classes,
            seed=seed_of(seed),
            dtype=choice("dtype", dtype, (torch.float32, torch.float64)),
        )  # fmt: skip
        device = check_device(device)
        self.memories = nn.Parameter(start.to(device))
        self.front.to(device, dtype if fronts.learns(self.front) else None)

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
        """Draw the first memories of a network, (K, N + C), or only some rows of them.

        A row is the same whichever rows are drawn, and the other rows take no storage: processes
        that share a network draw from one stream of random numbers.
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

    def begin_at(self, images: Examples, *, seed: int) -> None:
        """Prepare the initial memories for training on these images; most networks need not."""

    def settle(self) -> None:
        """Bring in line what follows from the visible memories, after these were averaged."""

    @property
    def n_inputs(self) -> int:
        """Numbers in one input of the front; N without a front."""
        return int(getattr(self.front, "n_inputs", self.n_visible))

    @property
    def n_seen(self) -> int:
        """Visible neurons that a memory looks at: all N, or those of a patch."""
        return self.n_visible

    def neurons(self, visible: Tensor) -> Tensor:
        """Return what memories are multiplied by, (B, N) -> (B, N + C): class neurons at 0."""
        return nn.functional.pad(visible, (0, self.n_classes))

    @property
    def input_dtype(self) -> torch.dtype:
        """Dtype of inputs: float64 before a front that wants it, else that of the memories."""
        return torch.float64 if getattr(self.front, "exact", False) else self.memories.dtype

    @property
    def n_memories(self) -> int:
        """The number K of memories."""
        return self.memories.shape[0]

    @property
    def power(self) -> float:
        """The power n of the rectified polynomial."""
        return self._power

    @property
    def temperature(self) -> float:
        """The temperature T; may be set."""
        return self._temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self._temperature = check_temperature(value)

    @property
    def visible_memories(self) -> Tensor:
        """The visible part of each memory, a view (K, N)."""
        return self.memories[:, : self.n_seen]

    @property
    def class_memories(self) -> Tensor:
        """The votes of each memory for the classes, a view (K, C)."""
        return self.memories[:, self.n_seen :]

    @property
    def words(self) -> tuple[str, str]:
        """Names of the network in ids and for people, such as "n30" and "n = 30"."""
        name, label = (text.format(n=self.power, kind=self.kind) for text in self._words)
        return name, label

    @property
    def picture_shape(self) -> tuple[int, ...] | None:
        """The shape (H, W) or (3, H, W) of a memory as a picture; None where it is none."""
        known = None if self.trained_on is None else self.trained_on.input_shape
        if fronts.learns(self.front):
            return None
        if known is not None and len(known) > 1 and math.prod(known) == self.n_visible:
            return known
        return square(self.n_visible)

    def plot_memories(self, ax: Any = None, **options: Any) -> Any:
        """Draw the first memories, blue at -1 and red at +1 (Fig. 2).

        Args:
            ax: Axes of Matplotlib, or a file to write; None returns a figure, see ``plot``.
            **options: ``count`` of memories, and the ``shape`` (H, W) or (3, H, W) of one.

        Raises:
            MissingPackageError: when matplotlib is not installed.
        """
        return self.plot(ax, **options)

    def _thumbnails(self) -> Tensor | None:
        shape = self.picture_shape
        if shape is None:
            return None
        return self.visible_memories[:10].detach().float().cpu().reshape(-1, *shape)

    # ---- scores ------------------------------------------------------------------------------

    def visible(self, inputs: Tensor) -> Tensor:
        """Return inputs after the front, (B, N).

        Raises:
            InputError: for a front that returns another shape.
        """
        if isinstance(self.front, nn.Identity):
            return inputs
        with full_precision(inputs):
            visible: Tensor = self.front(inputs)
        if visible.ndim != 2 or visible.shape[1] != self.n_visible:
            raise InputError(
                f"the front returned {tuple(visible.shape)}: wanted (B, {self.n_visible})"
            )
        return visible.to(self.memories.dtype) if self.input_dtype == torch.float64 else visible

    def forward(self, inputs: Tensor) -> Tensor:
        """Return class activity Y = tanh(energy gap), (B, N) -> (B, C) in [-1, 1] (Eq. 2.1)."""
        return torch.tanh(self.energy_gap(inputs))

    def as_inputs(self, values: object) -> Tensor:
        """Return images or rows as people have them as inputs of this model, (B, n_inputs).

        ``predict`` and ``explain`` take the same; heads take no more than their result, so that
        gradients are those of what was handed over.

        Args:
            values: an ``ImageSet``, array, tensor, list or data frame: a batch, or one input.
                uint8 are pixels 0..255, floats are in visible units [-1, 1]; see
                ``denseam.inputs``.

        Raises:
            InputError: for another shape, or numbers whose units are in doubt.

        """
        if torch.compiler.is_compiling():
            return cast("Tensor", values)
        shape: tuple[int, ...] | None = getattr(self.front, "input_shape", None)
        if shape is None and not isinstance(self.front, nn.Identity):
            return cast("Tensor", values)  # somebody's own module, which checks for itself
        pixels = shape is None or len(shape) > 1
        if shape is None and self.trained_on is not None:
            shape = self.trained_on.input_shape
        memories = self.memories
        return as_inputs(
            values, shape, self.n_inputs, pixels=pixels, dtype=self.input_dtype,
            device=memories.device,
        )  # fmt: skip

    def energy_gap(self, inputs: Tensor) -> Tensor:
        """Return the argument of tanh in Eq. 2.1, (B, N) -> (B, C), clamped to the dtype's range.

        Raises:
            InputError: for inputs that are not (B, N) in [-1, 1], or what the front takes, in the
                model's dtype.
        """
        self._check(inputs)
        return self._raw(inputs, "energy_gap")

    def log_energy(self, inputs: Tensor) -> Tensor:
        """Return scores that never saturate and have the argmax of Y, (B, N) -> (B, C).

        The logarithm of the energy where there is one, log sum_mu F(on), and -inf where no memory
        is active; the energy gap itself otherwise.

        Raises:
            InputError: as for ``energy_gap``.
        """
        self._check(inputs)
        return self._raw(inputs, "log_energy")

    def predict(self, inputs: object) -> Tensor:
        """Return labels, (B,) int64: argmax of Y, decided before tanh can saturate.

        Args:
            inputs: what ``as_inputs`` takes.

        Raises:
            InputError: for inputs of another shape, units or range.
        """
        with torch.no_grad():
            return self.log_energy(self.as_inputs(inputs)).argmax(dim=1)

    def scores(self, inputs: Tensor, head: HeadName) -> Tensor:
        """Return scores of a head, (B, N) -> (B, C), also for inputs beyond [-1, 1].

        Attacks of other toolkits leave that range. A row with NaN or an infinity becomes NaN.

        Raises:
            InputError: for another head.
        """
        check_head(head)
        inputs, finite = bounded(inputs)
        raw = self._raw(inputs, "energy_gap" if head == "tanh" else head)
        raw = raw if finite is None else torch.where(finite, raw, torch.nan)
        return torch.tanh(raw) if head == "tanh" else raw

    def exact_scores(self, inputs: Tensor) -> Tensor:
        """Return scores that never saturate, (B, N) -> (B, C) float64, for inputs of any range.

        Where it matters, they are not rounded to the model's dtype; the gradient is the same.
        """
        return self.scores(inputs, "log_energy").double()

    @property
    def batch_invariant(self) -> bool:
        """True where ``energies`` of an input are the same to the bit in any batch."""
        return False

    def energies(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return log-energies and energy gaps, (B, C) float64 each, and overlaps; no gradients.

        Overlaps are (K, B), or None for networks that have none.
        """
        with torch.no_grad():
            return self.exact_scores(inputs), self.scores(inputs, "energy_gap").double(), None

    def winner_distances(
        self, inputs: Tensor, labels: Tensor, overlaps: Tensor | None = None
    ) -> Tensor:
        """Return distances, (B,) float64 in visible units of L2, to the winning memories.

        They are those with the largest terms in the energies of labels (B,); for networks with
        ``has_energy``. ``overlaps`` are those of ``energies``, where they are known.
        """
        raise NotImplementedError

    def contributions(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return which memories are active for any input and class, (K,) bool, and shares (K, B).

        Shares are of the energy of an input's label, where the largest is 1; for networks with
        ``has_energy``.
        """
        raise NotImplementedError

    def head(self, shape: torch.Size, head: HeadName) -> Head:
        """Return a head with a way back to inputs of this shape, for descents in input space."""
        return module_head(partial(self.scores, head=head), shape)

    def _raw(self, inputs: Tensor, head: HeadName) -> Tensor:
        """Return ``_scores`` of inputs behind the front; mixed precision changes nothing."""
        return exactly(lambda x: self._scores(self.visible(x), head), inputs, self.parameters())

    def _scores(self, visible: Tensor, head: HeadName) -> Tensor:
        """Return the energy gap, or the scores that never saturate; no checks."""
        raise NotImplementedError

    def _scores_of(self, rows: Tensor, head: HeadName) -> Tensor:
        """Return ``_scores`` of the visible part of ``neurons``."""
        return self._scores(rows, head)

    def onnx(self, graph: OnnxGraph, visible: str, head: HeadName) -> tuple[str, str]:
        """Add the network to an ONNX graph, behind its front.

        Returns scores (B, C) with the argmax of Y, and the energy gap (B, C), which may be empty
        for the head "log_energy".

        Raises:
            InputError: for a network that has no ONNX graph.
        """
        raise InputError(f"a network of kind {self.kind!r} has no ONNX graph")

    # ---- training ----------------------------------------------------------------------------

    def learn(
        self,
        kernel: Kernel,
        neurons: Tensor,  # (B, N + C): visible, and 0 in the class neurons
        labels: Tensor,  # (B,) int64
        velocity: Tensor,  # (K, N + C)
        rule: Rule,
        *,
        objective: Objective,
        mesh: Mesh,
    ) -> Outcome:
        """Take one training step on a batch; return its outcome before the step."""
        gradient, outcome = self._gradient(kernel, neurons, labels, objective, mesh)
        mesh.data.add(gradient)
        self._step(kernel, velocity, gradient, rule)
        return outcome

    def _step(self, kernel: Kernel, velocity: Tensor, gradient: Tensor, rule: Rule) -> None:
        """Change memories and velocity by a gradient, (K, N + C) each."""
        kernel.update(self.memories.data, velocity, gradient, rule)

    @in_full_precision
    def _gradient(
        self, kernel: Kernel, neurons: Tensor, labels: Tensor, objective: Objective, mesh: Mesh
    ) -> tuple[Tensor, Outcome]:
        """Return the gradient of the objective by memories, (K, N + C), and the outcome."""
        del kernel, mesh
        scores = self._scores_of(neurons[:, : self.n_seen], objective.head).double()
        value = objective.value(scores, labels)
        learned = self.front.parameters() if neurons.requires_grad else ()
        torch.autograd.backward(value, inputs=[self.memories, *learned])
        gradient, self.memories.grad = cast("Tensor", self.memories.grad), None
        activity = torch.tanh(scores.detach())
        return gradient, Outcome(activity, scores.argmax(dim=1), value.detach())

    def largest_fields(self, overlaps: Tensor) -> Tensor:
        """Return a number > 0 for each active memory, of overlaps (K,) with the best image each."""
        return overlaps

    # ---- files -------------------------------------------------------------------------------

    def save(self, path: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write the model to one safetensors file, atomically; ``denseam.load`` reads it.

        Args:
            path: the file.
            dtype: of the saved memories, such as ``torch.float16`` for half the size; their own by
                default. A rounded model is loaded in float32.

        Raises:
            InputError: for another dtype than float64, float32, bfloat16 and float16, and for a
                front that ``denseam.fronts`` does not know.
            SaveError: when it cannot be written; an older file stays.
        """
        if dtype is not None:
            choice("dtype", dtype, _SAVED)
        save_tensors(Path(path), "model", self.tensors(dtype), self.file_facts())

    def file_facts(self) -> dict[str, Any]:
        """Return what a file holds beside ``tensors``: settings, and what it was trained on."""
        known = {} if self.trained_on is None else {"trained_on": self.trained_on.to_json()}
        return {**self.settings(), **known}

    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """Return the tensors of the file, memories in ``dtype`` unless it is None."""
        memories = self.memories if dtype is None else self.memories.to(dtype)
        return {"memories": memories, **fronts.tensors(self.front, dtype)}

    def settings(self) -> dict[str, Any]:
        """Return everything else that the model computes with, as plain JSON values."""
        return {
            "network": self.kind,
            "power": self.power,
            "temperature": self.temperature,
            "n_visible": self.n_visible,
            **fronts.settings(self.front),
        }

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """Return the model of a file; float64 stays, other dtypes become float32.

        Raises:
            KeyError, TypeError, ValueError: when tensors and settings are not whole.
        """
        memories, n_visible = tensors["memories"], int(settings["n_visible"])
        n_memories, components = memories.shape
        n_classes = int(settings.get("n_classes", components - n_visible))
        dtype = memories.dtype if memories.dtype is torch.float64 else torch.float32
        model = cls(
            n_visible, n_classes, n_memories, temperature=settings["temperature"],
            dtype=dtype, front=fronts.restore(tensors, settings), **cls._restored(settings),
        )  # fmt: skip
        if memories.shape != model.memories.shape:
            raise InputError(f"memories of {tuple(memories.shape)} do not fit the settings")
        if not memories.is_floating_point():
            raise InputError(f"memories of {memories.dtype}: wanted floating ones")
        if not bool(memories.isfinite().all()):
            raise InputError("memories that are NaN or infinite")
        model.memories.data = memories.to(dtype)
        return model

    @classmethod
    def _restored(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the constructor that stand in a file."""
        return {"power": settings["power"]}

    def __repr__(self) -> str:
        front = "" if isinstance(self.front, nn.Identity) else f", front={self.front}"
        return f"{type(self).__name__}({self.extra_repr()}{front})"

    def extra_repr(self) -> str:
        return (
            f"n_visible={self.n_visible}, n_classes={self.n_classes}, "
            f"n_memories={self.n_memories}, power={self.power:g}, temperature={self.temperature:g}"
        )

    def get_extra_state(self) -> dict[str, Any]:
        return {"power": self.power, "temperature": self.temperature}

    def set_extra_state(self, state: Any) -> None:
        self._power = check_power(state["power"])
        self._temperature = check_temperature(state["temperature"])

    def _check(self, inputs: Tensor) -> None:
        if torch.compiler.is_compiling():  # values are not known while a graph is traced
            return
        if isinstance(self.front, nn.Identity):
            check_visible(inputs, self.n_visible)
        else:
            fronts.check_inputs(self.front, inputs)
        memories = self.memories
        if (
            inputs.dtype not in (memories.dtype, self.input_dtype)
            or inputs.device != memories.device
        ):
            raise InputError(
                f"visible is {inputs.dtype} on {inputs.device}, the model {memories.dtype} on "
                f"{memories.device}: convert one with .to()"
            )


def bounded(inputs: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return inputs (B, ...) clamped so that overlaps are finite, and the finite rows, (B, 1) bool.

    Inputs of any usual size are returned unchanged, with None.
    """
    most = torch.finfo(inputs.dtype).max / _ROOM
    if torch.compiler.is_compiling() or not inputs.numel():
        return inputs, None
    if bool(inputs.detach().abs().amax() <= most):  # False for NaN
        return inputs, None
    finite = inputs.detach().flatten(1).isfinite().all(dim=1, keepdim=True)
    return inputs.nan_to_num(0.0).clamp(-most, most), finite


def check_power(power: float | None) -> float:
    """Return n as a float; raise InputError unless it is a number from 1 to 10^6."""
    return number("power", power, least=1, most=MOST_POWER)


def check_temperature(temperature: float | None) -> float:
    """Return T as a float; raise InputError unless it is a finite number > 0."""
    return number("temperature", temperature, above=0)


def check_head(head: HeadName) -> None:
    """Raise InputError unless the head is one of ``HEADS``."""
    choice("head", head, HEADS)


def check_device(device: torch.device | str) -> torch.device:
    """Return the device; raise InputError where it cannot be used."""
    try:
        checked = torch.device(device)
        torch.zeros(1, device=checked).item()  # "meta" has tensors and no numbers
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"device {device} cannot be used here: {reason}") from error
    return checked


# PyTorch draws normal numbers sixteen at a time: blocks of this many rows, the last one longer,
# give the same numbers as one draw.
_BLOCK = 4096


def _blocks(n_memories: int) -> list[slice]:
    cuts = [*range(0, max(1, n_memories - _BLOCK), _BLOCK), n_memories]
    return [slice(first, end) for first, end in itertools.pairwise(cuts)]

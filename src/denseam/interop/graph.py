"""The networks as graphs of ONNX operators: the formulas of ``kernels.energies`` and ``baselines``.

Nothing of size (B, K, C) is held, and every class is on a scale of its own, h_c = max_mu on_c:

    S_c      = sum_mu F_n(on_c / h_c)                        >= 1 where a memory is active
    relative = n log(h_c / max_c h_c) + log S_c              the log-energy, less n log max_c h_c

Differences of log-energies are of the order of 0.01 where these are 200, so what is common to all
classes is taken out before float32 can round.
"""

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from denseam.baselines import (
    Binarised,
    ExponentialAM,
    NearestNeighbour,
    PolynomialNetwork,
    RBFNetwork,
)
from denseam.baselines.networks import ROOM
from denseam.classifier import Classifier, HeadName
from denseam.errors import InputError
from denseam.kernels.interface import field_shifts
from denseam.model import DenseAM

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Graph", "build"]

_TYPES = {torch.float32: 1, torch.float64: 11}  # ONNX's own numbers
_LEAST = torch.finfo(torch.float32).tiny  # of a field, as in ``ImageClassifier``


class Graph:
    """Nodes in the order of computation, and constants, by the names of their values."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.largest = torch.finfo(dtype).max
        self.nodes: list[tuple[str, list[str], list[str], dict[str, Any]]] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def __call__(
        self, kind: str, *inputs: str | float | Tensor, out: str = "", **attributes: Any
    ) -> str:
        """Add a node; numbers and floating tensors become constants. The name of its value."""
        name = out or f"{kind.lower()}_{len(self.nodes)}"
        given = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        self.nodes.append((kind, given, [name], attributes))
        return name

    def constant(self, value: float | Tensor, dtype: torch.dtype | None = None) -> str:
        """A number or a tensor, in the graph's dtype unless told otherwise."""
        name = f"constant_{len(self.constants)}"
        tensor = torch.as_tensor(value, dtype=dtype or self.dtype).detach().cpu().contiguous()
        self.constants[name] = tensor.numpy()
        return name

    def integers(self, *values: int) -> str:
        """A list of whole numbers, such as axes."""
        name = "integers_" + "_".join(map(str, values))
        self.constants[name] = np.array(values, np.int64)
        return name

    def cast(self, values: str, dtype: torch.dtype) -> str:
        """The same numbers in another dtype."""
        return self("Cast", values, to=_TYPES[dtype])

    def over(self, kind: Literal["Sum", "Max"], values: str) -> str:
        """Sum or maximum over a row: (B, X) -> (B, 1)."""
        return self(f"Reduce{kind}", values, self.integers(1), keepdims=1)


def build(graph: Graph, model: Classifier, head: HeadName, takes: str) -> None:
    """From "images" or "visible" to "logits" and "label".

    Raises:
        InputError: for a network whose formulas are not here.
    """
    visible = takes
    if takes == "images":
        visible = graph("Sub", graph("Mul", graph("Flatten", takes, axis=1), 2.0), 1.0)
    while isinstance(model, Binarised):
        nothing = graph("Mul", visible, 0.0)  # but NaN where the pixel is no number
        hard = graph("Where", graph("Greater", visible, model.threshold), 1.0, -1.0)
        visible = graph("Add", hard, nothing)
        model = model.network
    if isinstance(model, DenseAM):
        scores, gap = _dense_memory(graph, visible, model, head)
    elif isinstance(model, ExponentialAM):
        scores, gap = _exponential(graph, visible, model)
    elif isinstance(model, PolynomialNetwork):
        scores = gap = _polynomial(graph, visible, model)
    elif isinstance(model, RBFNetwork):
        scores = gap = _radial(graph, visible, model)
    elif isinstance(model, NearestNeighbour):
        scores, gap = _nearest(graph, visible, model, head)
    else:
        raise InputError(f"a network of kind {model.kind!r} has no ONNX graph")
    graph("ArgMax", scores, out="label", axis=1, keepdims=0)
    if head == "log_energy":
        shares = graph("LogSoftmax", scores, axis=1)
        graph("Max", shares, -graph.largest, out="logits")
    elif head == "energy_gap":
        graph("Clip", gap, -graph.largest, graph.largest, out="logits")
    else:
        graph("Tanh", gap, out="logits")


def _dense_memory(graph: Graph, visible: str, model: DenseAM, head: HeadName) -> tuple[str, str]:
    """Relative log-energies (B, C), and with another head than that the energy gap (B, C)."""
    n = model.power
    overlaps = graph("Gemm", visible, model.visible_memories, transB=1)
    shifts = field_shifts(model.class_memories.detach().double())  # (K, C + 1)
    parts = [_class_sum(graph, overlaps, shift, n) for shift in shifts.T[:-1]]
    tops, sums = (graph("Concat", *names, axis=1) for names in zip(*parts, strict=True))
    top = graph("Max", graph.over("Max", tops), _LEAST)  # (B, 1)
    ratio = graph("Div", tops, top)
    logs = graph("Add", graph("Mul", graph("Log", ratio), n), graph("Log", sums))
    floor = graph("Mul", graph("Log", graph("Div", _LEAST, top)), n)
    scores = graph("Max", logs, floor)
    if head == "log_energy":
        return scores, ""
    off_top, off = _class_sum(graph, overlaps, shifts[:, -1], n)
    scale = graph("Max", top, off_top)
    on = graph("Mul", sums, graph("Pow", graph("Div", tops, scale), n))
    off = graph("Mul", off, graph("Pow", graph("Div", off_top, scale), n))
    difference = graph("Sub", on, off)
    return scores, _at_temperature(graph, difference, scale, model.temperature, n)


def _at_temperature(
    graph: Graph, difference: str, scale: str, temperature: float, power: float
) -> str:
    """difference (scale / T)^n, (B, C), in float64 as far as the range of float32 matters."""
    wide, finite = torch.float64, torch.finfo(torch.float64).max
    given = graph.constant(temperature, wide)
    factor = graph("Pow", graph("Div", graph.cast(scale, wide), given), power)
    factor = graph("Min", factor, graph.constant(finite, wide))  # 0 times infinity is NaN
    product = graph("Mul", graph.cast(difference, wide), factor)
    limits = (graph.constant(limit, wide) for limit in (-graph.largest, graph.largest))
    return graph.cast(graph("Clip", product, *limits), graph.dtype)


def _class_sum(graph: Graph, overlaps: str, shift: Tensor, power: float) -> tuple[str, str]:
    """The largest field of a class (B, 1), or 0, and sum_mu F_n(field / largest) (B, 1)."""
    fields = graph("Relu", graph("Add", overlaps, shift))
    top = graph.over("Max", fields)
    scaled = graph("Div", fields, graph("Max", top, _LEAST))
    return top, graph.over("Sum", graph("Pow", scaled, power))


def _exponential(graph: Graph, visible: str, model: ExponentialAM) -> tuple[str, str]:
    """Relative log-energies and the energy gap, (B, C)."""
    n, T, classes = model.power, model.temperature, model.class_memories.detach()
    overlaps = graph("Gemm", visible, model.visible_memories, -classes.sum(dim=1), transB=1)
    exponents = graph("Mul", graph("Sub", graph("Div", overlaps, T), 1.0), n)
    top = graph.over("Max", exponents)
    shares, shift = graph("Exp", graph("Sub", exponents, top)), 2 * n / T * classes
    most = math.log(ROOM * graph.largest)
    gap = graph("MatMul", shares, torch.expm1(shift))
    gap = graph("Mul", gap, graph("Exp", graph("Min", top, most)))
    return graph("Log", graph("MatMul", shares, torch.exp(shift))), gap


def _polynomial(graph: Graph, visible: str, model: PolynomialNetwork) -> str:
    overlaps = graph("Gemm", visible, model.visible_memories, transB=1)
    hidden, exponent = graph("Relu", graph("Div", overlaps, model.temperature)), model.power - 1
    factor = 2 * model.power / model.temperature
    if exponent == 1:
        return graph("Mul", graph("MatMul", hidden, model.class_memories), factor)
    # As the module does it: on the scale of the largest neuron, the gap bounded, the label kept.
    wide, top = torch.float64, graph.over("Max", hidden)
    powers = graph("Pow", graph("Div", hidden, graph("Max", top, _LEAST)), exponent)
    scale = graph(
        "Mul", graph("Pow", graph.cast(top, wide), exponent), graph.constant(factor, wide)
    )
    scale = graph("Min", scale, graph.constant(ROOM * graph.largest, wide))
    votes = graph("MatMul", powers, model.class_memories)
    return graph("Mul", votes, graph.cast(scale, graph.dtype))


def _radial(graph: Graph, visible: str, model: RBFNetwork) -> str:
    centres = model.visible_memories
    lengths = graph.over("Sum", graph("Mul", visible, visible))
    rest = graph("Gemm", visible, centres, centres.square().sum(dim=1), alpha=-2.0, transB=1)
    squared = graph("Add", lengths, rest)
    hidden = graph("Exp", graph("Div", graph("Relu", squared), -(model.temperature**2)))
    return graph("MatMul", hidden, model.class_memories)


def _nearest(
    graph: Graph, visible: str, model: NearestNeighbour, head: HeadName
) -> tuple[str, str]:
    """Scores (B, C), and with another head than log_energy the energy gap (B, C)."""
    memories = graph.constant(model.visible_memories)  # (M, N), class by class
    halves: list[Tensor] = []
    if model.metric == "l2":
        halves = [-model.visible_memories.square().sum(dim=1) / 2]
    found = graph("Gemm", visible, memories, *halves, transB=1)  # (B, M)
    places, first = list[str](), 0
    for count in model.counts:
        start = first if count else 0  # of a class without images any one will do
        part = graph("Slice", found, *map(graph.integers, (start, start + max(count, 1), 1)))
        place = graph("ArgMax", part, axis=1, keepdims=1)
        places.append(graph("Add", place, graph.integers(start)))
        first += count
    nearest = graph("Gather", memories, graph("Concat", *places, axis=1))  # (B, C, N)
    image = graph("Unsqueeze", visible, graph.integers(1))
    if model.metric == "l2":
        apart = graph("Sub", image, nearest)
        squared = graph("ReduceSum", graph("Mul", apart, apart), graph.integers(2), keepdims=0)
        scores = graph("Neg", squared)
    else:
        scores = graph("ReduceSum", graph("Mul", image, nearest), graph.integers(2), keepdims=0)
    if 0 in model.counts:
        absent = torch.tensor([0.0 if count else -torch.inf for count in model.counts])
        scores = graph("Add", scores, absent)
    return scores, "" if head == "log_energy" else _lead(graph, scores, model.temperature)


def _lead(graph: Graph, scores: str, temperature: float) -> str:
    """By how much each class leads the best of the others, over T^2."""
    graph.nodes.append(("TopK", [scores, graph.integers(2)], ["two", "places"], {"axis": 1}))
    best, second = (graph("Gather", "two", graph.integers(i), axis=1) for i in (0, 1))
    other = graph("Where", graph("Equal", scores, best), second, best)
    return graph("Div", graph("Sub", scores, other), temperature**2)

"""Networks as graphs of ONNX operators, from inputs to logits and labels.

The formulas stand with the networks (``Classifier.onnx``), their fronts and energy functions.
"""

from torch import nn

from denseam.classifier import Classifier
from denseam.errors import InputError
from denseam.fronts import Front
from denseam.heads import HeadName
from denseam.onnx_graph import OnnxGraph


def build(graph: OnnxGraph, model: Classifier, head: HeadName, takes: str) -> None:
    """Add a model, from "images" or "visible" to "logits" and "label".

    Raises:
        InputError: for a network or a front that has no ONNX graph.
    """
    inputs = takes
    if takes == "images":
        inputs = graph("Sub", graph("Mul", graph("Flatten", takes, axis=1), 2.0), 1.0)
    if isinstance(model.front, Front):
        shaped = graph("Reshape", inputs, graph.integers(-1, *model.front.input_shape))
        inputs = model.front.onnx(graph, shaped)
    elif not isinstance(model.front, nn.Identity):
        raise InputError(f"a front of type {type(model.front).__name__} has no ONNX graph")
    scores, gap = model.onnx(graph, inputs, head)
    graph("ArgMax", scores, out="label", axis=1, keepdims=0)
    if head == "log_energy":
        shares = graph("LogSoftmax", scores, axis=1)
        graph("Max", shares, -graph.largest, out="logits")
    elif head == "energy_gap":
        graph("Clip", gap, -graph.largest, graph.largest, out="logits")
    else:
        graph("Tanh", gap, out="logits")

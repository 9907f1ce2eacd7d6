"""The front for pictures of another size, in colours, or dark on light."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from denseam.checks import choice, whole
from denseam.errors import InputError
from denseam.fronts.base import Front
from denseam.fronts.centring import Invert, centred, signs
from denseam.onnx_graph import OnnxGraph

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601
_PAPER = -1.0  # visible units


class Pixels(Front):
    """A front that turns pictures in [-1, 1] into pictures of the size that the memories have.

    In this order: crop; turn grey; invert dark ink on light paper; resize in proportion, on a
    background of -1. With ``centre``, do as MNIST does instead: take the ink from its paper, scale
    its box to 20/28 of the side and put its centre of mass in the middle.

    Args:
        input_shape: (H, W), or (3, H, W) of colours.
        shape: (h, w) of the result; N = h w.
        crop: (top, left, height, width) to look at; everything by default.
        invert: turn light paper dark; "auto" inverts those pictures that have a light border.
        centre: find the ink of every picture, and centre it.

    Raises:
        InputError: for a shape of other length or sizes, a crop beyond the picture, or another
            ``invert``.

    >>> Pixels((3, 60, 40), (28, 28), invert=True)(torch.ones(2, 3, 60, 40)).shape
    torch.Size([2, 784])
    """

    name: ClassVar[str] = "pixels"
    rows: Tensor  # (h, height): resizes by rows @ picture @ columns.T
    columns: Tensor  # (w, width)

    def __init__(
        self,
        input_shape: Sequence[int],
        shape: Sequence[int] = (28, 28),
        *,
        crop: Sequence[int] | None = None,
        invert: Invert = False,
        centre: bool = False,
    ) -> None:
        sizes = tuple(whole("input_shape", side) for side in input_shape)
        if len(sizes) not in (2, 3) or (len(sizes) == 3 and sizes[0] != 3):
            raise InputError(f"input_shape = {tuple(input_shape)}: wanted (H, W) or (3, H, W)")
        if len(shape) != 2:
            raise InputError(f"shape = {tuple(shape)}: wanted (h, w)")
        h, w = (whole("shape", side) for side in shape)
        super().__init__(sizes, h * w)
        H, W = sizes[-2:]
        box = (0, 0, H, W) if crop is None else tuple(whole("crop", x, 0) for x in crop)
        if len(box) != 4 or not (
            box[2] and box[3] and box[0] + box[2] <= H and box[1] + box[3] <= W
        ):
            raise InputError(
                f"crop = {crop}: wanted (top, left, height, width) inside {H} x {W} pixels"
            )
        self.shape, self.crop, self.centre = (h, w), box, centre
        self.invert: Invert = choice("invert", invert, (False, True, "auto"))
        scale = min(h / box[2], w / box[3])
        self.register_buffer("rows", _resizing(box[2], h, scale), persistent=False)
        self.register_buffer("columns", _resizing(box[3], w, scale), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (B, N) in [-1, 1] of (B, *input_shape) or (B, n_inputs) in [-1, 1]."""
        top, left, height, width = self.crop
        pictures = inputs.reshape(-1, *self.input_shape)
        pictures = pictures[..., top : top + height, left : left + width]
        if pictures.ndim == 4:
            luma = torch.tensor(LUMA).to(pictures)
            pictures = (pictures * luma[:, None, None]).sum(dim=1)
        if self.centre:
            return centred(pictures, self.shape, self.invert).flatten(1)
        if self.invert:
            pictures = signs(pictures, self.invert)[:, None, None] * pictures
        above = self.rows.to(inputs) @ (pictures - _PAPER) @ self.columns.to(inputs).T
        return (above + _PAPER).clamp(-1, 1).flatten(1)

    def settings(self) -> dict[str, Any]:
        return {
            "input_shape": list(self.input_shape),
            "shape": list(self.shape),
            "crop": list(self.crop),
            "invert": self.invert,
            "centre": self.centre,
        }

    def onnx(self, graph: OnnxGraph, inputs: str) -> str:
        if self.centre or self.invert == "auto":
            raise InputError(
                "a front that centres pictures, or inverts some of them, has no ONNX graph"
            )
        top, left, height, width = self.crop
        axes = (len(self.input_shape) - 1, len(self.input_shape))
        integers = graph.integers
        v = graph(
            "Slice", inputs, integers(top, left), integers(top + height, left + width),
            integers(*axes),
        )  # fmt: skip
        if len(self.input_shape) == 3:
            v = graph("Mul", v, torch.tensor(LUMA)[:, None, None])
            v = graph("ReduceSum", v, integers(1), keepdims=0)
        v = graph("Sub", graph("Neg", v) if self.invert else v, _PAPER)
        v = graph("MatMul", graph("MatMul", self.rows, v), self.columns.T.contiguous())
        return graph("Flatten", graph("Clip", graph("Add", v, _PAPER), -1.0, 1.0), axis=1)


def _resizing(length: int, target: int, scale: float) -> Tensor:
    """Return the matrix (target, length) that resizes one axis and centres it in the target."""
    size = min(target, max(1, round(scale * length)))
    lines = torch.eye(length, dtype=torch.float64)[None, None]  # (1, 1, length, length)
    resized = interpolate(
        lines, size=(size, length), mode="bilinear", antialias=True, align_corners=False
    )[0, 0]  # fmt: skip
    before = (target - size) // 2
    return pad(resized, (0, 0, before, target - size - before))

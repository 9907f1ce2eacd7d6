"""Records of images in other units, or of parts that do not fit together, are refused."""

import math

import pytest
import torch

from denseam.errors import InputError

from .small import some_curves, some_grid, some_map, some_memories, some_trace

GRID = torch.zeros(2, 3, 5, 4)
ROW = torch.full((2, 3), 0.5)
BAD = {
    "a column too few": (some_grid, {"columns": ("a", "b")}, r"\(2, 2, any, any\), got \(2, 3, 5"),
    "flat images": (some_grid, {"images": torch.zeros(2, 3, 20)}, r"got \(2, 3, 20\)"),
    "bytes": (some_grid, {"images": GRID.to(torch.uint8)}, "must be floating, .* got torch.uint8"),
    "past white": (some_grid, {"images": GRID + 1.1}, r"\[-1, 1\], got 1.1"),
    "NaN": (some_grid, {"images": GRID * math.nan}, "NaN pixels"),
    "no pixel": (some_grid, {"images": torch.zeros(2, 3, 0, 4)}, r"\(M, H, W\)"),
    "another mask": (some_grid, {"missing": torch.zeros(2, 2).bool()}, r"missing .* got \(2, 2\)"),
    "two images": (some_trace, {"images": torch.zeros(2, 5, 4)}, r"\(3, any, any\), got \(2, 5, 4"),
    "0..255": (some_trace, {"images": torch.full((3, 5, 4), 200.0)}, "look like 0..255"),
    "a size too few": (some_curves, {"eps": (0.0, 0.1)}, r"errors must have shape \(2, 2\), got"),
    "no interval": (some_curves, {"intervals": ROW}, r"intervals must have shape \(2, 3, 2\)"),
    "turned": (some_curves, {"confidences": ROW.T}, r"confidences must have shape \(2, 3\)"),
    "a name too few": (some_memories, {"names": ("a", "b")}, r"\(2, any, any, any\), got \(3, 5,"),
    "flat memories": (some_memories, {"images": torch.zeros(3, 20)}, r"got \(3, 20\)"),
    "past +1": (some_memories, {"images": torch.full((3, 5, 5, 4), 1.1)}, r"\[-1, 1\], got 1.1"),
    "no memory": (some_memories, {"images": torch.zeros(3, 0, 5, 4)}, "empty"),
    "a row more": (some_map, {"samples": torch.zeros(3, 2, 6, 3)}, r"samples .*\(2, any, any, any"),
    "samples' units": (some_map, {"samples": torch.full((2, 2, 6, 3), 200.0)}, "look like 0..255"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_records_are_refused(case):
    record, changes, message = BAD[case]
    with pytest.raises(InputError, match=message):
        record(**changes)


def test_images_at_the_edges_of_the_range_are_taken():
    some_grid(images=torch.ones(2, 3, 1, 1, dtype=torch.float64, requires_grad=True))
    some_grid(images=-torch.ones(2, 3, 1, 1))

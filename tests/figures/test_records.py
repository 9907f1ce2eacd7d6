"""Every way in which a record can be wrong has its message."""

import math

import pytest
import torch

from denseam.errors import InputError

from .small import some_curves, some_grid, some_trace

NAN, INF = math.nan, math.inf
IMAGES = torch.zeros(2, 3, 5, 4)

BAD_GRIDS = {
    "no row": ({"rows": ()}, "rows must be a tuple of one or more names"),
    "a list": ({"rows": ["n = 2", "n = 30"]}, "rows must be a tuple"),
    "a number": ({"columns": ("a", "b", 3)}, "columns must be a tuple"),
    "a blank": ({"columns": ("a", "b", " ")}, "columns must be a tuple"),
    "another count": ({"columns": ("a", "b")}, r"\(2, 2, H, W\), got \(2, 3, 5, 4\)"),
    "flat": ({"images": torch.zeros(2, 3, 20)}, r"\(2, 3, H, W\), got \(2, 3, 20\)"),
    "bytes": ({"images": IMAGES.to(torch.uint8)}, "floating torch.Tensor, got torch.uint8"),
    "lists": ({"images": [[0.0]]}, "floating torch.Tensor, got list"),
    "past white": ({"images": IMAGES + 1.1}, r"\[-1, 1\], got 1.1"),
    "nan": ({"images": IMAGES * NAN}, "NaN pixels"),
    "no pixel": ({"images": torch.zeros(2, 3, 0, 4)}, r"\(M, H, W\)"),
    "numbers": ({"missing": torch.zeros(2, 3)}, r"bool tensor of shape \(2, 3\), got torch.float"),
    "mask's shape": ({"missing": torch.zeros(2, 2).bool()}, r"torch.bool \(2, 2\)"),
    "no mask": ({"missing": None}, "got None"),
}

BAD_TRACES = {
    "no name": ({"name": ""}, "name must be"),
    "nothing": ({"log_top": ()}, "log_top must be a tuple of one or more numbers"),
    "a tensor": ({"log_target": torch.zeros(4)}, "log_target must be a tuple"),
    "-inf": ({"log_top": (0.0, 0.0, 0.0, -INF)}, "log_top must hold finite numbers, got -inf"),
    "nan": ({"log_target": (0.0, 0.0, NAN, 0.0)}, "log_target must hold finite numbers, got nan"),
    "text": ({"log_top": ("a",)}, "finite numbers, got 'a'"),
    "lengths": ({"log_target": (0.0, 0.0)}, "log_top has 4 values and log_target 2"),
    "no step": ({"step": 0.0}, r"step = 0.0: wanted > 0"),
    "endless step": ({"step": INF}, "step must hold finite"),
    "before": ({"crossing": -0.1}, r"crossing = -0.1: wanted 0 .. 3 steps, or None"),
    "behind": ({"crossing": 3.1}, "crossing = 3.1"),
    "crossing nan": ({"crossing": NAN}, "crossing = nan"),
    "two images": ({"images": torch.zeros(2, 5, 4)}, r"\(3, H, W\), got \(2, 5, 4\)"),
    "units": ({"images": torch.full((3, 5, 4), 200.0)}, "look like 0..255"),
    "two labels": ({"labels": ("5", "3")}, "three images"),
    "a label": ({"labels": (5, "5 / 3", "3")}, "labels must be a tuple"),
}

ROW = torch.full((2, 3), 0.5)
BAD_CURVES = {
    "no name": ({"names": ()}, "names must be"),
    "too many": ({"names": tuple("abcdefghi")}, "9 curves cannot be told apart: at most 8"),
    "no size": ({"eps": ()}, "eps must be a tuple"),
    "falling": ({"eps": (0.0, 0.2, 0.1)}, r"eps must rise from 0 or more, got \(0.0, 0.2, 0.1\)"),
    "twice": ({"eps": (0.0, 0.1, 0.1)}, "eps must rise"),
    "negative": ({"eps": (-0.1, 0.1, 0.2)}, "eps must rise"),
    "infinite": ({"eps": (0.0, 0.1, INF)}, "finite numbers, got inf"),
    "another count": ({"eps": (0.0, 0.1)}, r"errors must have shape \(2, 2\), got \(2, 3\)"),
    "per cent": ({"errors": ROW * 100}, r"errors must be fractions in \[0, 1\], got 50"),
    "below 0": ({"errors": ROW - 1}, "got -0.5"),
    "whole": ({"errors": ROW.long()}, "errors must be a floating torch.Tensor, got torch.int64"),
    "error nan": ({"errors": ROW * NAN}, "must be a number within its interval"),
    "no interval": ({"intervals": ROW}, r"intervals must have shape \(2, 3, 2\)"),
    "outside, above": ({"intervals": torch.zeros(2, 3, 2)}, "within its interval"),
    "outside, below": ({"intervals": torch.ones(2, 3, 2)}, "within its interval"),
    "interval": ({"intervals": torch.full((2, 3, 2), 2.0)}, "intervals must be fractions"),
    "confidence": ({"confidences": ROW * 3}, "confidences must be fractions"),
    "confidence's shape": ({"confidences": ROW.T}, r"confidences must have shape \(2, 3\)"),
    "of no error": ({"confidences": ROW}, "NaN where there is no error, and only there"),
    "of errors": ({"confidences": ROW * NAN}, "NaN where there is no error, and only there"),
    "no image": ({"counts": 0}, "counts = 0"),
    "a float": ({"counts": 400.0}, "counts = 400.0"),
}


@pytest.mark.parametrize("case", BAD_GRIDS)
def test_grids_are_refused(case):
    changes, message = BAD_GRIDS[case]
    with pytest.raises(InputError, match=message):
        some_grid(**changes)


@pytest.mark.parametrize("case", BAD_TRACES)
def test_traces_are_refused(case):
    changes, message = BAD_TRACES[case]
    with pytest.raises(InputError, match=message):
        some_trace(**changes)


@pytest.mark.parametrize("case", BAD_CURVES)
def test_curves_are_refused(case):
    changes, message = BAD_CURVES[case]
    with pytest.raises(InputError, match=message):
        some_curves(**changes)


def test_records_at_their_limits_are_taken():
    some_grid(images=torch.ones(2, 3, 1, 1, dtype=torch.float64, requires_grad=True))
    assert some_trace(crossing=None).crossing is None
    assert some_trace(crossing=3).crossing == 3
    assert some_trace(log_top=(0.0,), log_target=(1.0,), crossing=0).crossing == 0
    # An interval that float32 has rounded to just inside the error.
    some_curves(intervals=some_curves().errors[:, :, None].expand(2, 3, 2) + 1e-7 * ROW[:, :, None])
    # A mean that rounding has carried past 1.
    some_curves(confidences=some_curves().confidences.clamp(min=1) + 1e-7)

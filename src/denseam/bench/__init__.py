"""Speed of denseam and of its alternatives: the measurements of `denseam bench`."""

from denseam.bench.descent import measure_crossing, measure_iteration
from denseam.bench.report import (
    CASES,
    Row,
    environment,
    measure_inference,
    measure_step,
    measure_training,
)

__all__ = [
    "CASES",
    "Row",
    "environment",
    "measure_crossing",
    "measure_inference",
    "measure_iteration",
    "measure_step",
    "measure_training",
]

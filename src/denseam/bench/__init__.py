"""Speed, measured beside the alternatives: what `denseam bench` prints."""

from denseam.bench.descent import (
    CrossingRow,
    IterationRow,
    measure_crossing,
    measure_iteration,
)
from denseam.bench.report import (
    CASES,
    InferenceRow,
    StepRow,
    environment,
    measure_inference,
    measure_step,
)

__all__ = [
    "CASES",
    "CrossingRow",
    "InferenceRow",
    "IterationRow",
    "StepRow",
    "environment",
    "measure_crossing",
    "measure_inference",
    "measure_iteration",
    "measure_step",
]

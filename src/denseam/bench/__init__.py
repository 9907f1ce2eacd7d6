"""Speed, measured beside the alternatives: what `denseam bench` prints."""

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
    "InferenceRow",
    "StepRow",
    "environment",
    "measure_inference",
    "measure_step",
]

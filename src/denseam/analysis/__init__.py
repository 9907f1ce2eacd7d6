"""What models and image sets show: confidence and its calibration, for now."""

from denseam.analysis.calibration import (
    ConfidenceBins,
    calibrate_beta,
    confidence_bins,
    solve_beta,
)
from denseam.analysis.confidence import BETA_SM, confidence, confidence_of

__all__ = [
    "BETA_SM",
    "ConfidenceBins",
    "calibrate_beta",
    "confidence",
    "confidence_bins",
    "confidence_of",
    "solve_beta",
]

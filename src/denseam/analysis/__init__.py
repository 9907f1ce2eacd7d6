"""What models and image sets show: confidence, its calibration, and transfer."""

from denseam.analysis.calibration import (
    ConfidenceBins,
    calibrate_beta,
    confidence_bins,
    solve_beta,
)
from denseam.analysis.confidence import BETA_SM, confidence, confidence_of
from denseam.analysis.transfer import TransferTable, transfer_confidence, transfer_errors

__all__ = [
    "BETA_SM",
    "ConfidenceBins",
    "TransferTable",
    "calibrate_beta",
    "confidence",
    "confidence_bins",
    "confidence_of",
    "solve_beta",
    "transfer_confidence",
    "transfer_errors",
]

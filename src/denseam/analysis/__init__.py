"""What models and image sets show: confidence, its calibration, transfer, memories."""

from denseam.analysis.audit import Audit, audit
from denseam.analysis.confidence import (
    BETA_SM,
    ConfidenceBins,
    calibrate_beta,
    confidence,
    confidence_bins,
    confidence_of,
    solve_beta,
)
from denseam.analysis.memories import (
    MemoryStatistics,
    likeness,
    live_memories,
    memory_statistics,
    pick_memories,
    prototype_scores,
)
from denseam.analysis.scaling import (
    CalibrationComparison,
    CalibrationWay,
    compare_calibration,
    fit_temperature,
)
from denseam.analysis.transfer import TransferTable, transfer_confidence, transfer_errors

__all__ = [
    "BETA_SM",
    "Audit",
    "CalibrationComparison",
    "CalibrationWay",
    "ConfidenceBins",
    "MemoryStatistics",
    "TransferTable",
    "audit",
    "calibrate_beta",
    "compare_calibration",
    "confidence",
    "confidence_bins",
    "confidence_of",
    "fit_temperature",
    "likeness",
    "live_memories",
    "memory_statistics",
    "pick_memories",
    "prototype_scores",
    "solve_beta",
    "transfer_confidence",
    "transfer_errors",
]

"""What models and image sets show: confidence, for now."""

from denseam.analysis.confidence import BETA_SM, confidence, confidence_of

__all__ = ["BETA_SM", "confidence", "confidence_of"]

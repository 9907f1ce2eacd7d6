"""What is this picture? Labels, confidence and the memories that decided, for anything.

denseam.predict("scan.png")
denseam.predict("folder/", model="runs/mine").to_frame()
"""

from denseam.prediction.labelling import predict
from denseam.prediction.result import Memory, Prediction, Predictions

__all__ = ["Memory", "Prediction", "Predictions", "predict"]

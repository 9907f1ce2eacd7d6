"""Dense associative memories (DAM_n): train them, look at them, test them.

The paper: D. Krotov and J. J. Hopfield, *Dense Associative Memory is Robust to Adversarial
Inputs*, Neural Computation 30(12), 2018. Its equations stand in ``denseam.energy``.
"""

import importlib
from typing import Any

from denseam import baselines, data, energies, energy, errors, fronts
from denseam.analysis import (
    calibrate_beta,
    confidence,
    memory_statistics,
    transfer_confidence,
    transfer_errors,
)
from denseam.descent import (
    basic_iterative,
    cross_boundary,
    least_likely,
    minimum_norm,
    rubbish,
    sign_gradient,
)
from denseam.errors import DenseAMError, DenseAMWarning
from denseam.evaluation import Evaluation, evaluate
from denseam.guard import Guard, GuardedModel, Verdict
from denseam.image_classifier import ImageClassifier
from denseam.memory import MemoryLayer
from denseam.model import DenseAM
from denseam.pretrained import load_pretrained, pretrained_card, pretrained_names
from denseam.saved import load
from denseam.training import Callback, MaxNormMomentum, Recipe, TrainResult, train
from denseam.version import __version__

__all__ = [
    "Callback",
    "DenseAM",
    "DenseAMError",
    "DenseAMWarning",
    "Evaluation",
    "Guard",
    "GuardedModel",
    "ImageClassifier",
    "MaxNormMomentum",
    "MemoryLayer",
    "Recipe",
    "TrainResult",
    "Verdict",
    "__version__",
    "baselines",
    "basic_iterative",
    "calibrate_beta",
    "confidence",
    "cross_boundary",
    "data",
    "energies",
    "energy",
    "errors",
    "evaluate",
    "fronts",
    "least_likely",
    "load",
    "load_pretrained",
    "memory_statistics",
    "minimum_norm",
    "pretrained_card",
    "pretrained_names",
    "rubbish",
    "sign_gradient",
    "train",
    "transfer_confidence",
    "transfer_errors",
]


def __getattr__(name: str) -> Any:
    """Import ``denseam.sklearn`` on first use: scikit-learn takes long to import."""
    if name == "sklearn":
        return importlib.import_module("denseam.sklearn")
    raise AttributeError(f"module 'denseam' has no attribute {name!r}")

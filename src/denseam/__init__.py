"""Dense associative memories (DAM_n): train them, look at them, test them.

The paper: D. Krotov and J. J. Hopfield, *Dense Associative Memory is Robust to Adversarial
Inputs*, Neural Computation 30(12), 2018. Its equations stand in ``denseam.energy``.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from denseam import errors
from denseam.errors import DenseAMError, DenseAMWarning
from denseam.version import __version__

if TYPE_CHECKING:
    from denseam import baselines, certificates, data, energies, energy, fronts, retrieval
    from denseam.analysis import (
        calibrate_beta,
        memory_statistics,
        transfer_confidence,
        transfer_errors,
    )
    from denseam.analysis.audit import audit
    from denseam.analysis.confidence import confidence
    from denseam.certificates import Certificates, certify
    from denseam.descent import (
        basic_iterative,
        cross_boundary,
        least_likely,
        minimum_norm,
        sign_gradient,
    )
    from denseam.descent.rubbish import rubbish
    from denseam.evaluation import Evaluation, evaluate
    from denseam.guard import Guard, GuardedModel, Verdict
    from denseam.image_classifier import ImageClassifier, VisibleModule
    from denseam.memory import MemoryLayer
    from denseam.model import DenseAM
    from denseam.prediction import Predictions, predict
    from denseam.pretrained import load_pretrained, pretrained_card, pretrained_names
    from denseam.retrieval import AssociativeMemory
    from denseam.saved import load
    from denseam.trained_on import TrainedOn
    from denseam.training import (
        Callback,
        MaxNormMomentum,
        Recipe,
        TrainResult,
        fit_recipe,
        train,
        tune,
    )

__all__ = [
    "AssociativeMemory",
    "Callback",
    "Certificates",
    "DenseAM",
    "DenseAMError",
    "DenseAMWarning",
    "Evaluation",
    "Guard",
    "GuardedModel",
    "ImageClassifier",
    "MaxNormMomentum",
    "MemoryLayer",
    "Predictions",
    "Recipe",
    "TrainResult",
    "TrainedOn",
    "Verdict",
    "VisibleModule",
    "__version__",
    "audit",
    "baselines",
    "basic_iterative",
    "calibrate_beta",
    "certificates",
    "certify",
    "confidence",
    "cross_boundary",
    "data",
    "energies",
    "energy",
    "errors",
    "evaluate",
    "fit_recipe",
    "fronts",
    "least_likely",
    "load",
    "load_pretrained",
    "memory_statistics",
    "minimum_norm",
    "predict",
    "pretrained_card",
    "pretrained_names",
    "retrieval",
    "rubbish",
    "sign_gradient",
    "train",
    "transfer_confidence",
    "transfer_errors",
    "tune",
]

# Where the names live. PyTorch takes more than a second to import, so a room is imported when one
# of its names, or the room itself, is asked for: `denseam --help` does not wait for it.
_NAMES = {
    "analysis": "calibrate_beta memory_statistics transfer_confidence transfer_errors",
    "analysis.audit": "audit",
    "analysis.confidence": "confidence",
    "certificates": "Certificates certify",
    "descent": "basic_iterative cross_boundary least_likely minimum_norm sign_gradient",
    "descent.rubbish": "rubbish",
    "evaluation": "Evaluation evaluate",
    "guard": "Guard GuardedModel Verdict",
    "image_classifier": "ImageClassifier VisibleModule",
    "memory": "MemoryLayer",
    "model": "DenseAM",
    "prediction": "Predictions predict",
    "pretrained": "load_pretrained pretrained_card pretrained_names",
    "retrieval": "AssociativeMemory",
    "saved": "load",
    "trained_on": "TrainedOn",
    "training": "Callback MaxNormMomentum Recipe TrainResult fit_recipe train tune",
}
_HOMES = {name: room for room, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import what ``denseam.NAME`` means: a name of a room, or a room, such as ``figures``."""
    if name in _HOMES:
        value = getattr(importlib.import_module(f"denseam.{_HOMES[name]}"), name)
    elif name.startswith("_") or importlib.util.find_spec(f"denseam.{name}") is None:
        raise AttributeError(f"module 'denseam' has no attribute {name!r}")
    else:
        value = importlib.import_module(f"denseam.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the names for completion, those that are not imported yet among them."""
    return sorted({*globals(), *__all__})

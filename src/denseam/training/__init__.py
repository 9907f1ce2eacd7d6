"""Training by the procedure of NIPS16, appendix A: rule, recipe, loop, checkpoints."""

from denseam.training.adversarial import Adversarial, Threat
from denseam.training.augment import Distort, Shift
from denseam.training.bar import ProgressBar
from denseam.training.callbacks import Callback, TensorBoard
from denseam.training.loop import TrainResult, train
from denseam.training.optimizer import MaxNormMomentum
from denseam.training.recipe import Recipe
from denseam.training.records import EpochRecord
from denseam.training.scale import fit_recipe
from denseam.training.tuning import tune

__all__ = [
    "Adversarial",
    "Callback",
    "Distort",
    "EpochRecord",
    "MaxNormMomentum",
    "ProgressBar",
    "Recipe",
    "Shift",
    "TensorBoard",
    "Threat",
    "TrainResult",
    "fit_recipe",
    "train",
    "tune",
]

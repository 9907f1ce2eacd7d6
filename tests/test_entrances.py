"""A number means the same at every entrance, whichever library it comes from; a bool means none."""

import numpy as np
import pytest
import torch
from sklearn.utils._param_validation import InvalidParameterError

import denseam
from denseam.analysis import pick_memories, solve_beta
from denseam.baselines.binarised import Binarised
from denseam.data import Dataset, ImageSet
from denseam.descent import sets
from denseam.descent.square import square_attack
from denseam.errors import InputError
from denseam.figures.grid import grid
from denseam.guard import Guard
from denseam.guard.conformal import check_rate
from denseam.guard.junk import junk_sets
from denseam.guard.scores import Score
from denseam.sklearn import DenseAMClassifier

MODEL = denseam.DenseAM(12, 3, 4, power=2, temperature=3.0)
IMAGES = torch.rand(5, 12, generator=torch.Generator().manual_seed(1)) * 2 - 1
LABELS = torch.tensor([0, 1, 2, 0, 1])
TABLE = IMAGES.numpy().repeat(4, axis=0), LABELS.numpy().repeat(4)
CLEAN = ImageSet(IMAGES.reshape(5, 3, 4), LABELS, 3)


def estimated(**parameters):
    """Fit the estimator for scikit-learn, quickly, and return its memories."""
    few = {"n_memories": 3, "max_iter": 1, "random_state": 0}
    return DenseAMClassifier(**(few | parameters)).fit(*TABLE).model_.memories


# Called with 2 and with 0.5, as a number of every library.
WHOLE = {
    "rubbish max_steps": lambda n: denseam.rubbish(MODEL, max_steps=n),
    "rubbish per_class": lambda n: denseam.rubbish(MODEL, per_class=n, max_steps=1),
    "rubbish classes": lambda n: denseam.rubbish(MODEL, [n], max_steps=1),
    "rubbish chunk": lambda n: denseam.rubbish(MODEL, chunk=n, max_steps=1),
    "rubbish seed": lambda n: denseam.rubbish(MODEL, seed=n, max_steps=1),
    "cross_boundary max_steps": lambda n: denseam.cross_boundary(MODEL, IMAGES, max_steps=n),
    "cross_boundary samples": lambda n: denseam.cross_boundary(
        MODEL, IMAGES, max_steps=1, samples=[n]
    ),
    "basic_iterative steps": lambda n: denseam.basic_iterative(MODEL, IMAGES, LABELS, 0.1, steps=n),
    "minimum_norm rounds": lambda n: denseam.minimum_norm(MODEL, IMAGES, rounds=n),
    "minimum_norm starts": lambda n: denseam.minimum_norm(MODEL, IMAGES, rounds=1, starts=n),
    "square_attack queries": lambda n: square_attack(
        MODEL, IMAGES, LABELS, 0.1, shape=(3, 4), queries=n
    ),
    "rubbish_set per_class": lambda n: sets.rubbish_set(
        MODEL, shape=(3, 4), per_class=n, max_steps=1
    ),
    "attack_set steps": lambda n: sets.attack_set(MODEL, CLEAN, "bim", 0.1, steps=n),
    "explain count": lambda n: MODEL.explain(IMAGES[0], count=n),
    "explain label": lambda n: MODEL.explain(IMAGES[0], label=n),
    "pick_memories count": lambda n: pick_memories(MODEL, n, shape=(3, 4)),
    "pick_memories seed": lambda n: pick_memories(MODEL, 3, n, shape=(3, 4)),
    "n_memories": lambda n: denseam.DenseAM(12, 3, n, 2, 3.0).memories,
    "n_visible": lambda n: denseam.DenseAM(n, n, 4, 2, 3.0).memories,
    "seed": lambda n: denseam.DenseAM(12, 3, 4, 2, 3.0, seed=n).memories,
    "power": lambda n: denseam.DenseAM(12, 3, 4, n, 3.0)(IMAGES),
    "ImageSet n_classes": lambda n: ImageSet(CLEAN.images, LABELS % 2, n),
    "from_arrays n_classes": lambda n: ImageSet.from_arrays(IMAGES, LABELS % 2, n_classes=n),
    "hold_out": lambda n: Dataset("a", CLEAN, CLEAN).hold_out(n),
    "from_arrays shape": lambda n: ImageSet.from_arrays(IMAGES, LABELS, shape=(n, 6)),
    "pick_memories shape": lambda n: pick_memories(MODEL, 3, shape=(n, 6)),
    "grid columns": lambda n: [len(grid(CLEAN.images, columns=n, scale=1).tobytes())],
    "grid scale": lambda n: [len(grid(CLEAN.images, scale=n).tobytes())],
    "Guard image_shape": lambda n: [Guard(MODEL, MODEL, image_shape=(n, 6)).image_shape],
    "estimator n_memories": lambda n: estimated(n_memories=n),
    "estimator max_iter": lambda n: estimated(max_iter=n),
    "estimator batch_size": lambda n: estimated(batch_size=n),
    "estimator random_state": lambda n: estimated(random_state=n),
    "estimator power": lambda n: estimated(power=n),
    "estimator loss_power": lambda n: estimated(loss_power=n),
    "junk_sets": lambda n: junk_sets(CLEAN, n),
    "Recipe epochs": lambda n: denseam.Recipe.paper(power=2, epochs=n),
    "boundary_set seed": lambda n: sets.boundary_set(
        MODEL, CLEAN, target="random", seed=n, max_steps=1
    ),
    "cross_boundary loss_power": lambda n: denseam.cross_boundary(
        MODEL, IMAGES, loss_power=n, max_steps=2
    ),
    "attack_set loss_power": lambda n: sets.attack_set(MODEL, CLEAN, "fgsm", 0.1, loss_power=n),
}
REAL = {
    "estimator learning_rate": lambda x: estimated(learning_rate=x),
    "estimator momentum": lambda x: estimated(momentum=x),
    "estimator temperature": lambda x: estimated(temperature=x),
    "solve_beta": lambda x: solve_beta(5 * MODEL(IMAGES).detach(), x),
    "optimiser": lambda x: denseam.MaxNormMomentum([MODEL.memories], x).param_groups[0]["lr"],
    "temperature": lambda x: denseam.DenseAM(12, 3, 4, 2, x)(IMAGES),
    "ImageClassifier": lambda x: denseam.ImageClassifier(MODEL, scale=x)(IMAGES / 2 + 0.5),
    "binarised": lambda x: Binarised(MODEL, threshold=x).predict(IMAGES),
    "confidence": lambda x: denseam.confidence(MODEL, IMAGES, x),
    "transfer_confidence": lambda x: denseam.transfer_confidence({"a": MODEL}, {"b": CLEAN}, x),
    "target_rejection": check_rate,
    "Score beta_sm": lambda x: Score("confidence", x).beta_sm,
    "Recipe learning_rate": lambda x: denseam.Recipe.paper(power=2, learning_rate=x),
    "sign_gradient eps": lambda x: denseam.sign_gradient(MODEL, IMAGES, LABELS, x),
    "sign_gradient several eps": lambda x: denseam.sign_gradient(MODEL, IMAGES, LABELS, [x])[0],
    "basic_iterative step": lambda x: denseam.basic_iterative(MODEL, IMAGES, LABELS, 1, step=x),
    "rubbish noise": lambda x: denseam.rubbish(MODEL, noise=x, max_steps=1),
    "rubbish step": lambda x: denseam.rubbish(MODEL, step=x, max_steps=1),
    "cross_boundary step": lambda x: denseam.cross_boundary(MODEL, IMAGES, step=x, max_steps=2),
    "square_attack eps": lambda x: square_attack(MODEL, IMAGES, LABELS, x, shape=(3, 4), queries=3),
    "attack_set eps": lambda x: sets.attack_set(MODEL, CLEAN, "fgsm", x),
}
SCALARS = {
    "NumPy": (np.int64(2), np.float64(0.5)),
    "NumPy, smaller": (np.uint8(2), np.float32(0.5)),
    "array": (np.array(2), np.array(0.5)),
    "tensor": (torch.tensor(2), torch.tensor(0.5)),
}


def same(a, b):
    """Plain values are equal, and so are all tensors and numbers that an object holds."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))
    if hasattr(a, "__dict__"):
        return type(a) is type(b) and same(vars(a), vars(b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("scalars", SCALARS.values(), ids=SCALARS)
@pytest.mark.parametrize("call", WHOLE.values(), ids=WHOLE)
def test_whole_numbers_mean_the_same(call, scalars):
    assert same(call(2), call(scalars[0]))


@pytest.mark.parametrize("scalars", SCALARS.values(), ids=SCALARS)
@pytest.mark.parametrize("call", REAL.values(), ids=REAL)
def test_real_numbers_mean_the_same(call, scalars):
    assert same(call(0.5), call(scalars[1]))


@pytest.mark.parametrize("call", [*WHOLE.values(), *REAL.values()], ids=[*WHOLE, *REAL])
def test_what_is_no_number_is_refused(call):
    for wrong in (True, np.True_, "2", torch.ones(1, 1)):
        with pytest.raises((InputError, InvalidParameterError)):
            call(wrong)

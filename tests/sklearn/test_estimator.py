"""DenseAMClassifier, by scikit-learn's own checks and by what it promises beyond them."""

import os
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris, make_blobs, make_circles, make_moons
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import denseam
from denseam.data import FeatureSet
from denseam.errors import InputError
from denseam.sklearn import DenseAMClassifier, _draw, _front_of, _rows


def quick(**parameters):
    """A classifier that is trained in a moment."""
    return DenseAMClassifier(**{"max_iter": 20, "random_state": 0, **parameters})


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


# The defaults pass too; with fewer epochs the checks take seconds.
@parametrize_with_checks([DenseAMClassifier(max_iter=20)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_the_check_that_wants_scipys_array_api():
    code = (
        "from sklearn.utils.estimator_checks import estimator_checks_generator as checks\n"
        "from denseam.sklearn import DenseAMClassifier\n"
        "found = [(e, c) for e, c in checks(DenseAMClassifier(max_iter=5))\n"
        "         if c.func.__name__ == 'check_array_api_input']\n"
        "[(estimator, check)] = found\n"
        "check(estimator)"
    )
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "SCIPY_ARRAY_API": "1"}, check=True
    )


# ---- what it learns ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "least"),
    [
        (make_moons(300, noise=0.2, random_state=0), 0.94),
        (make_circles(300, noise=0.1, factor=0.5, random_state=0), 0.97),
        (load_iris(return_X_y=True), 0.93),
        (make_blobs(300, centers=6, random_state=3), 0.82),
    ],
)
def test_defaults_learn_data_of_few_features(data, least):
    assert cross_val_score(DenseAMClassifier(random_state=0), *data, cv=3).mean() > least


@pytest.mark.parametrize("power", [2, 30])
def test_a_fit_is_a_training_of_the_command_line(iris, power):
    X, y = iris
    table = FeatureSet.from_arrays(X, y)
    trained = denseam.train(denseam.fit_recipe(table, power, 20), table).model.memories
    fitted = DenseAMClassifier(power=power, max_iter=20, random_state=0).fit(X, y).model_.memories
    torch.testing.assert_close(fitted.float(), trained, atol=2e-3, rtol=0)


def test_the_scale_of_a_feature_does_not_matter(iris):
    X, y = iris
    fitted = quick().fit(X * [1e6, 1, 1e-6, 1] + [0, 1e3, 0, 0], y)
    expected = quick().fit(X, y)
    moved = X * [1e6, 1, 1e-6, 1] + [0, 1e3, 0, 0]
    assert np.allclose(fitted.decision_function(moved), expected.decision_function(X))


def test_an_outlier_does_not_squash_the_others(iris):
    X, y = iris
    wild = np.vstack([X, [1e9, 0, 0, 0]])
    assert quick(max_iter=200).fit(wild, np.append(y, 0)).score(X, y) > 0.9


@pytest.mark.parametrize("offset", [1e9, 1e13, 1e15])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_features_may_have_a_large_offset(iris, offset, form):
    X, y = iris
    X = form(X + offset)
    assert quick().fit(X, y).score(X, y) > 0.85  # 0.88 without one, 1 / 3 of constants


def test_a_constant_feature_is_passed_over(iris):
    X, y = iris
    wide = np.column_stack([X[:, :3], np.full(len(X), 7.1)])
    model = quick().fit(wide, y)
    before = model.decision_function(wide)
    wide[:, 3] = 1e12
    assert np.array_equal(model.decision_function(wide), before)


def test_visible_rows_lie_on_a_sphere_in_the_cube():
    X = np.random.default_rng(0).normal(size=(200, 5)) ** 3
    front = _front_of(X)
    v = front(_rows(X))
    assert v.shape == (200, front.n_visible)
    assert v.abs().max() <= 1
    assert np.allclose((v**2).sum(axis=1), front.radius)
    assert front(_rows(100 * X)).abs().max() == 1
    sparse = _front_of(sp.csr_array(X))
    assert np.allclose(sparse(_rows(sp.csr_array(X))), v)


# ---- outputs ------------------------------------------------------------------------------------


def test_decisions_probabilities_and_labels_agree():
    X, y = make_blobs(120, centers=4, cluster_std=3, random_state=1)
    names = np.array(["d", "a", "c", "b"])[y]
    model = quick().fit(X, names)
    far = np.vstack([X, 1e6 * X])
    decision, proba = model.decision_function(far), model.predict_proba(far)
    assert decision.shape == proba.shape == (240, 4)
    assert np.allclose(proba.sum(axis=1), 1)
    assert (model.classes_[decision.argmax(axis=1)] == model.predict(far)).all()
    assert (model.classes_[proba.argmax(axis=1)] == model.predict(far)).all()
    assert model.predict(far).dtype == names.dtype


def test_of_two_classes_the_second_is_positive():
    X, y = make_moons(100, noise=0.1, random_state=0)
    model = quick().fit(X, np.where(y, "yes", "no"))
    decision = model.decision_function(X)
    assert decision.shape == (100,)
    assert ((decision > 0) == (model.predict(X) == "yes")).all()
    order = np.argsort(decision)
    assert (np.diff(model.predict_proba(X)[order, 1]) >= 0).all()


def test_decisions_are_finite_where_no_memory_is_active(iris):
    X, y = iris
    model = quick().fit(X, y)
    model.model_.memories.data.fill_(-1e-3)
    model.model_.class_memories.data.fill_(1.0)  # every field is negative
    decision = model.decision_function(X)
    assert np.isfinite(decision).all()
    assert decision.max() < -1000
    assert np.allclose(model.predict_proba(X), 1 / 3)
    assert (model.predict(X) == 0).all()


def test_the_mean_confidence_is_the_accuracy_with_one_more_of_each():
    X, y = make_blobs(300, centers=3, cluster_std=4, random_state=0)
    model = quick().fit(X, y)
    right = (model.predict(X) == y).sum()
    assert model.predict_proba(X).max(axis=1).mean() == pytest.approx((right + 1) / 302)


def test_early_stopping_calibrates_on_what_was_kept_back(iris, monkeypatch):
    counts = []
    monkeypatch.setattr(DenseAMClassifier, "_calibrate", lambda _, X, y: counts.append(len(y)))
    quick(early_stopping=True, validation_fraction=0.2).fit(*iris)
    assert counts == [30]


def test_where_there_is_no_beta_it_is_1(iris):
    X, y = iris
    model = quick().fit(X, y)
    model._calibrate(X, (y + 1) % 3)  # worse than chance
    assert model.beta_sm_ == 1


# ---- training ------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_and_leaves_torch_alone(iris):
    X, y = iris
    state = torch.random.get_rng_state()
    first, again = quick().fit(X, y), quick().fit(X, y)
    assert torch.equal(first.model_.memories, again.model_.memories)
    assert torch.equal(torch.random.get_rng_state(), state)
    other = quick(random_state=np.random.RandomState(1)).fit(X, y)
    assert not torch.equal(first.model_.memories, other.model_.memories)


def test_progress_is_kept_and_printed(iris, capsys):
    model = quick(verbose=True).fit(*iris)
    said = capsys.readouterr().out.splitlines()
    assert model.n_iter_ == len(model.loss_curve_) == len(said) == 20
    assert said[-1] == f"Epoch 20, loss = {model.loss_:.6g}"
    assert model.loss_curve_[-1] < model.loss_curve_[0] / 2
    assert model.validation_scores_ is None


def test_early_stopping_keeps_the_best_memories():
    X, y = make_blobs(400, centers=3, cluster_std=4, random_state=0)
    model = quick(max_iter=500, early_stopping=True, n_iter_no_change=5).fit(X, y)
    assert model.n_iter_ == len(model.validation_scores_) < 500
    assert model.best_validation_score_ == max(model.validation_scores_)
    best = int(np.argmax(model.validation_scores_))
    short = quick(max_iter=500, early_stopping=True, n_iter_no_change=5)
    scores = []
    original = DenseAMClassifier._epoch

    def watched(self, *arguments):
        original(self, *arguments)
        scores.append(self.model_.memories.detach().clone())

    try:
        DenseAMClassifier._epoch = watched
        short.fit(X, y)
    finally:
        DenseAMClassifier._epoch = original
    assert torch.equal(short.model_.memories, scores[best])


def test_a_warm_start_goes_on_and_refuses_other_classes(iris):
    X, y = iris
    model = quick(warm_start=True).fit(X, y)
    before = model.loss_curve_
    model.fit(X, y)
    assert model.loss_curve_[0] < before[0] / 2
    with pytest.raises(InputError, match="warm_start"):
        model.fit(X[y < 2], y[y < 2])


def test_partial_fits_learn_and_keep_their_scaling(iris):
    X, y = iris
    order = np.random.default_rng(0).permutation(len(X))
    model = DenseAMClassifier(random_state=0)
    model.partial_fit(X[order[:60]], y[order[:60]], classes=[0, 1, 2])
    mean = model._front.mean.clone()
    for _ in range(60):
        model.partial_fit(X[order], y[order])
    assert model.n_iter_ == 61
    assert torch.equal(model._front.mean, mean)
    assert model.score(X, y) > 0.95
    model.partial_fit(X[y == 1], y[y == 1])  # a batch without the other classes
    with pytest.raises(InputError, match="not in classes"):
        model.partial_fit(X, y + 1)
    with pytest.raises(InputError, match="first call"):
        model.partial_fit(X, y, classes=[0, 1])


def test_a_class_that_comes_later_is_learned(iris):
    X, y = iris
    model = DenseAMClassifier(random_state=0).partial_fit(X[y > 0], y[y > 0], classes=[0, 1, 2])
    for _ in range(100):
        model.partial_fit(X, y)
    assert (model.predict(X) == y).mean() > 0.9


def test_class_weights_move_decisions():
    X, y = make_blobs([200, 20], cluster_std=3, centers=[[0, 0], [3, 3]], random_state=0)
    plain = quick().fit(X, y)
    balanced = quick(class_weight="balanced").fit(X, y)
    assert (balanced.predict(X) == 1).sum() > 1.5 * (plain.predict(X) == 1).sum()
    only = quick(class_weight={0: 0.0, 1: 1.0}).fit(X, y)
    assert (only.predict(X) == 1).all()
    for bad in ({2: 1.0}, {0: -1.0}, {0: 0.0, 1: 0.0}):
        with pytest.raises(ValueError, match="class_weight"):
            quick(class_weight=bad).fit(X, y)


def test_rows_are_drawn_as_often_as_their_weights_say():
    rng = np.random.RandomState(0)
    labels = np.tile([0, 1], 50)
    assert (np.bincount(_draw(labels, np.ones(100), 100, rng)) == 1).all()
    assert (np.bincount(labels[_draw(labels, np.ones(100), 50, rng)]) == 25).all()
    weights = np.where(labels, 3.0, 1.0)
    counts = np.bincount(_draw(labels, weights, 200, rng), minlength=100)
    assert counts[labels == 1].sum() == 150
    assert set(counts[labels == 1]) == {3}


# ---- inputs --------------------------------------------------------------------------------------


def test_frames_sparse_and_float32_give_the_same(iris):
    X, y = iris
    expected = quick().fit(X, y).decision_function(X)
    frame = pd.DataFrame(X, columns=list("abcd"))
    named = quick().fit(frame, y)
    assert list(named.feature_names_in_) == list("abcd")
    assert np.allclose(named.decision_function(frame), expected, atol=1e-2)
    for kind in (sp.csr_matrix, sp.csc_matrix, sp.coo_array):
        assert np.allclose(quick().fit(kind(X), y).decision_function(kind(X)), expected, atol=1e-2)
    small = X.astype(np.float32)
    assert np.allclose(quick().fit(small, y).decision_function(small), expected, atol=1e-2)


@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        ([[0.0], [1.0]], [1, 1], "1 class"),
        ([[0.0]], [1], "1 class"),
        ([[0.0], [np.nan]], [0, 1], "NaN"),
        ([[0.0], [np.inf]], [0, 1], "infinity"),
        ([[0.0], [1.0]], [0.5, 1.7], "continuous"),
        ([[0.0], [1.0]], [0, 1, 1], "inconsistent"),
    ],
)
def test_bad_data_is_refused(X, y, words):
    with pytest.raises(ValueError, match=words):
        quick().fit(X, y)


@pytest.mark.parametrize(
    "bad",
    [
        {"n_memories": 0}, {"power": 0.5}, {"loss_power": 0}, {"temperature": 0},
        {"learning_rate": 0}, {"momentum": 1.0}, {"batch_size": 0}, {"max_iter": "many"},
        {"validation_fraction": 1.0}, {"class_weight": "heavy"},
    ],
)  # fmt: skip
def test_bad_parameters_are_refused(iris, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        quick(**bad).fit(*iris)


def test_there_is_a_temperature_where_no_memory_is_active():
    for loss_power in ("auto", 2):
        model = quick(loss_power=loss_power).fit(np.ones((10, 3)), [0, 1] * 5)
        assert 0 < model.temperature_ < np.inf


def test_all_features_constant_is_no_crash():
    model = quick().fit(np.ones((10, 3)), [0, 1] * 5)
    assert np.isfinite(model.predict_proba(np.ones((2, 3)))).all()


def test_an_unfitted_one_says_so(iris):
    for method in ("predict", "predict_proba", "decision_function"):
        with pytest.raises(NotFittedError):
            getattr(DenseAMClassifier(), method)(iris[0])


# ---- among other estimators ----------------------------------------------------------------------


def test_pickle_and_joblib_keep_it(iris, tmp_path):
    X, y = iris
    model = quick().fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    for copy in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib")):
        assert np.array_equal(copy.predict_proba(X), model.predict_proba(X))
        copy.partial_fit(X, y)
    assert not hasattr(clone(model), "model_")


def test_pipelines_searches_and_calibration(iris):
    X, y = iris
    pipeline = make_pipeline(StandardScaler(), quick())
    search = GridSearchCV(pipeline, {"denseamclassifier__power": np.arange(2, 8, 4)}, cv=2)
    search.fit(X, y)
    assert search.best_score_ > 0.85
    calibrated = CalibratedClassifierCV(quick(), cv=2).fit(X, y)
    assert calibrated.score(X, y) > 0.85


def test_without_scikit_learn_it_says_what_to_install():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from denseam.errors import DenseAMError\n"
        "try:\n    import denseam.sklearn\n"
        "except ImportError as error:\n"
        "    assert isinstance(error, DenseAMError); print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'denseam[sklearn]'" in done.stdout

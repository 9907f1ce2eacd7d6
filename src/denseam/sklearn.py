"""A scikit-learn estimator: dense associative memories for tables of numbers.

The front ``fronts.Table`` turns rows into ``visible``, and scales, sizes and steps are those that
`denseam train` finds (``training.scale``); docs/sklearn.md explains the defaults.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from denseam.analysis import solve_beta
from denseam.checks import plain
from denseam.errors import InputError, MissingPackageError
from denseam.fronts import Table
from denseam.kernels import Rule, choose, step
from denseam.kernels.objectives import OBJECTIVES, Objective
from denseam.model import DenseAM
from denseam.precision import in_full_precision
from denseam.training import Recipe
from denseam.training.batches import epoch_indices
from denseam.training.scale import DRAWN, class_rows, first_memories, fit_scale, sizes

try:
    from scipy.sparse import issparse
    from scipy.special import softmax
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_random_state, compute_class_weight, gen_batches
    from sklearn.utils._param_validation import (
        Interval,
        StrOptions,
        validate_parameter_constraints,
    )
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
    from threadpoolctl import threadpool_limits
except ImportError as error:
    raise MissingPackageError(
        "denseam.sklearn needs scikit-learn: pip install 'denseam[sklearn]'"
    ) from error

__all__ = ["DenseAMClassifier"]

Array = NDArray[Any]

_STREAMED = 300, 1500  # memories of partial fits, and updates until their learning rate stays
_LAST_STEP = 0.05  # fraction of the learning rate that is left after all updates

_CHUNK = 1000  # rows that are scaled or classified at once
_ONE_THREAD = 5e7  # products per step up to which threads cost more than they bring
_FLOOR = math.log(np.finfo(np.float64).tiny)  # of a log-energy, per power


class DenseAMClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A dense associative memory as a scikit-learn classifier.

    Tables need no scaling. Sparse ones are made dense a batch at a time.

    Args:
        n_memories: K; "auto" is the number of samples, within 50 and 300, and a fifteenth of the
            samples if that is more, at most 2000.
        power: n >= 1, of the rectified polynomial.
        loss_power: m >= 1, of the paper's objective sum (Y - t)^(2m); "auto" is the cross-entropy
            of log-energies, which never saturates.
        temperature: T > 0, the scale of an overlap; "auto" is found from the samples.
        learning_rate: eps, the largest first step of a component of a memory, "auto" is found from
            the samples; it falls exponentially, to a twentieth in the last epoch.
        momentum: p, in [0, 1).
        batch_size: samples in a step; "auto" makes about 30 an epoch, of 5 to 100 samples. Never
            more than there are.
        max_iter: epochs; "auto" makes 1500 steps, within 40 and 300 epochs.
        class_weight: None, "balanced", or a dict from class to weight. A sample is drawn for
            batches and initial memories as often as its weight says.
        early_stopping: hold samples out, and stop when the score on them no longer rises; the
            best memories are kept.
        validation_fraction: the fraction that is held out.
        n_iter_no_change: epochs without a rise of more than ``tol`` that end an early stopped fit.
        tol: see ``n_iter_no_change``.
        warm_start: let ``fit`` continue from the memories, scaling, power and temperature of the
            last one.
        random_state: of initial memories, batches and the validation part.
        verbose: print a line for every epoch.

    Attributes:
        classes_: (C,) labels.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.
        model_: the ``DenseAM``, float64, with the front that takes rows of the table.
        temperature_: T.
        beta_sm_: of ``predict_proba``.
        n_iter_: epochs done by the last fit, or by all calls of ``partial_fit``.
        loss_, loss_curve_: the objective, mean over the samples of an epoch.
        validation_scores_, best_validation_score_: accuracies after each epoch; None without
            ``early_stopping``.
    """

    classes_: Array
    model_: DenseAM
    n_iter_: int
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    _front: Table
    _objective: Objective
    _first_step: float
    _known: Tensor  # (C,) classes that were trained on
    _seed: int
    _velocity: Tensor  # (K, N + C)
    _steps: int

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_memories": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "power": [Interval(Real, 1, None, closed="left")],
        "loss_power": [Interval(Real, 1, 500, closed="both"), StrOptions({"auto"})],
        "temperature": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "learning_rate": [Interval(Real, 0, 2, closed="right"), StrOptions({"auto"})],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "max_iter": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_memories: int | str = "auto",
        power: float = 6,
        *,
        loss_power: float | str = "auto",
        temperature: float | str = "auto",
        learning_rate: float | str = "auto",
        momentum: float = 0.9,
        batch_size: int | str = "auto",
        max_iter: int | str = "auto",
        class_weight: dict[Any, float] | str | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_memories = n_memories
        self.power = power
        self.loss_power = loss_power
        self.temperature = temperature
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _validate_params(self) -> None:
        """Check the parameters as scikit-learn does, where scalars of PyTorch are numbers too."""
        parameters = {name: plain(value) for name, value in self.get_params(deep=False).items()}
        for name, value in parameters.items():
            switch = self._parameter_constraints[name][0] in ("boolean", "verbose")
            if isinstance(value, bool) and not switch:
                raise InputError(f"{name} = {value}: wanted a number")
        validate_parameter_constraints(
            self._parameter_constraints, parameters, caller_name=type(self).__name__
        )

    # ---- training ----------------------------------------------------------------------------

    @in_full_precision
    def fit(self, X: Any, y: Any) -> Self:
        """Train on X (M, n_features) and labels y (M,).

        Raises:
            ValueError: for parameters out of range, NaN, fewer than two classes, and with
                ``warm_start`` for other classes than before.
        """
        self._validate_params()
        again = self.warm_start and hasattr(self, "model_")
        X, y = self._checked(X, y, reset=not again)
        classes, labels = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise InputError(f"y holds 1 class, {classes[0]!r}: wanted 2 classes at least")
        if again and not np.array_equal(classes, self.classes_):
            raise InputError(
                f"warm_start: y holds the classes {classes}, but those of the last fit were "
                f"{self.classes_}"
            )
        self.classes_ = classes
        rng = check_random_state(plain(self.random_state))
        held: Any = None
        if self.early_stopping:
            X, held_X, labels, held_y = train_test_split(
                X, labels, test_size=self.validation_fraction, stratify=labels, random_state=rng
            )
            held = held_X, held_y
        weights = self._weights(labels)
        if not again:
            self._begin(X, labels, weights, rng)
        self.n_iter_, self.loss_curve_ = 0, []
        self.validation_scores_ = [] if self.early_stopping else None
        with self._training(X):
            self._epochs(X, labels, weights, held, rng)
        self._calibrate(*(held or (X, labels)))
        return self

    @in_full_precision
    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Train one epoch on X (M, n_features) and labels y (M,), from where the last call ended.

        The first call sets scaling, temperature and initial memories by its samples (K is 300 by
        default), and needs ``classes``, (C,), where y does not hold all of them. Samples of later
        calls are clipped to that range. The learning rate falls over the first 1500 steps of all
        calls, then stays. ``class_weight="balanced"`` balances each call by itself.

        Raises:
            ValueError: for parameters out of range, NaN, and labels that are not in ``classes``.
        """
        self._validate_params()
        first = not hasattr(self, "model_")
        X, y = self._checked(X, y, reset=first)
        if first:
            known = np.unique(y if classes is None else classes)
            if len(known) < 2:
                raise InputError(f"1 class, {known[0]!r}: wanted 2 classes at least")
        else:
            known = self.classes_
            if classes is not None and not np.array_equal(np.unique(classes), known):
                raise InputError(f"classes = {classes}, but those of the first call were {known}")
        strange = np.setdiff1d(y, known)
        if len(strange):
            raise InputError(f"y holds {strange}, which are not in classes, {known}")
        self.classes_ = known
        labels = np.searchsorted(known, y)
        weights = self._weights(labels)
        if first or not hasattr(self, "_random_state"):
            self._random_state = check_random_state(plain(self.random_state))
        if first:
            K, steps = _STREAMED
            epochs = -(-steps // self._batches(len(labels)))
            self._begin(X, labels, weights, self._random_state, n_memories=K, epochs=epochs)
            self.n_iter_, self.loss_curve_ = 0, []
            self.validation_scores_ = self.best_validation_score_ = None
        rng = self._random_state
        with self._training(X):
            left = _LAST_STEP ** min(1.0, self._steps / _STREAMED[1])
            self._epoch(self._neurons(X), labels, weights, rng, left)
        self._calibrate(X, labels)
        return self

    def _checked(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Array]:
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64, reset=reset)
        check_classification_targets(y)
        return X, y

    def _weights(self, labels: Array) -> Array:
        """Return the relative frequency with which to draw each sample, (M,)."""
        present = np.unique(labels)
        names = self.classes_[present]
        weight = self.class_weight
        if isinstance(weight, dict):
            known = self.classes_.tolist()
            strange = [c for c in weight if c not in known]
            if strange:
                raise InputError(f"class_weight names {strange}, wanted classes of {self.classes_}")
            weight = {c: w for c, w in weight.items() if c in names}
        per_class = compute_class_weight(weight, classes=names, y=self.classes_[labels])
        if not (np.isfinite(per_class).all() and (per_class >= 0).all() and per_class.sum() > 0):
            raise InputError(f"class_weight = {self.class_weight}: wanted finite weights >= 0")
        of_class = np.zeros(len(self.classes_))
        of_class[present] = per_class
        return of_class[labels]

    def _begin(self, X: Any, labels: Array, weights: Array, rng: Any, **usual: Any) -> None:
        """Set scaling, temperature and steps, and begin memories as `denseam train` does.

        ``usual`` holds ``n_memories`` and ``epochs`` where they are not those of one fit.
        """
        self._front = _front_of(X)
        C = len(self.classes_)
        typed = {"n_memories": self.n_memories, "epochs": self.max_iter}
        usual |= {name: int(value) for name, value in typed.items() if value != "auto"}
        number = plain(self.random_state)
        self._seed = int(number if isinstance(number, Integral) else rng.randint(2**31 - 1))
        count = min(len(labels), DRAWN)
        if self.class_weight is None:
            rows = class_rows(torch.from_numpy(labels), count, self._seed).numpy()
        else:
            rows = _draw(labels, weights, count, rng)
        visible, kinds = self._front(_rows(X[rows])).float(), torch.from_numpy(labels[rows])
        preset = Recipe.paper(
            float(self.power), temperature=1.0, temperature_epochs=0, sampling="natural",
            objective="cross-entropy" if self.loss_power == "auto" else "paper",
            loss_power=2.0 if self.loss_power == "auto" else float(self.loss_power),
            seed=self._seed, **(sizes(len(labels), C) | usual),
        )  # fmt: skip
        recipe = fit_scale(preset, visible, kinds, C, len(labels), {})
        start = first_memories(recipe, visible, kinds, C)
        T = recipe.temperature if self.temperature == "auto" else float(self.temperature)
        self.model_ = DenseAM(self._front.n_visible, C, recipe.n_memories, recipe.power, T)
        self.model_.memories.data.copy_(start.memories)
        self.temperature_ = self.model_.temperature
        step = recipe.learning_rate if self.learning_rate == "auto" else self.learning_rate
        self._first_step = float(step)
        self._objective = OBJECTIVES[recipe.objective](recipe.loss_power, recipe.logit_scale)
        self._known = torch.zeros(C, dtype=torch.bool)
        self._velocity = torch.zeros_like(self.model_.memories.data)
        self._steps = 0

    def _epochs(self, X: Any, labels: Array, weights: Array, held: Any, rng: Any) -> None:
        """Train all epochs; with ``held`` samples, until the score on them stops rising."""
        epochs = self.max_iter
        if epochs == "auto":
            epochs = sizes(len(labels), len(self.classes_))["epochs"]
        neurons = self._neurons(X)
        best, kept, waited = -math.inf, None, 0
        for epoch in range(int(epochs)):
            self._epoch(neurons, labels, weights, rng, _LAST_STEP ** (epoch / int(epochs)))
            if held is None or self.validation_scores_ is None:
                continue
            score = float((self._log_energy(held[0]).argmax(axis=1) == held[1]).mean())
            self.validation_scores_.append(score)
            waited = 0 if score > best + self.tol else waited + 1
            if score > best:
                best, kept = score, self.model_.memories.data.clone()
            if waited >= self.n_iter_no_change:
                break
        if kept is not None:
            self.model_.memories.data.copy_(kept)
        self.best_validation_score_ = None if held is None else best

    def _epoch(self, neurons: Any, labels: Array, weights: Array, rng: Any, left: float) -> None:
        """Train on samples drawn by weight, with the fraction ``left`` of the learning rate."""
        model = self.model_
        memories = model.memories.data
        kernel = choose("cpu", memories.dtype).kernel
        rule = Rule(
            momentum=self.momentum,
            gradient_scale=1.0,
            learning_rate=self._first_step * left,
            floor=1e-30,  # a guard against 0 / 0
        )
        self._known[labels[weights > 0]] = True
        targets, objective, count = torch.from_numpy(labels), 0.0, 0
        for rows in self._order(targets, weights, rng):
            if isinstance(neurons, Tensor):
                batch = neurons[rows]
            else:
                batch = self._neurons(neurons[rows.numpy()].toarray())
            outcome = step(
                kernel, model.energy, batch, targets[rows], memories, self._velocity, rule,
                temperature=model.temperature, objective=self._objective,
                n_classes=model.n_classes,
            )  # fmt: skip
            self._steps += 1
            objective += float(outcome.objective)
            count += len(rows)
        self.n_iter_ += 1
        self.loss_ = objective / count
        self.loss_curve_.append(self.loss_)
        if self.verbose:
            print(f"Epoch {self.n_iter_}, loss = {self.loss_:.6g}")  # noqa: T201

    def _order(self, labels: Tensor, weights: Array, rng: Any) -> Iterable[Tensor]:
        """Return the samples of every batch of an epoch, each (B,)."""
        M, C = len(labels), len(self.classes_)
        if self.class_weight is None and self.batch_size == "auto":  # as `denseam train` draws
            per_class, epoch = sizes(M, C)["per_class"], self.n_iter_
            return epoch_indices(
                labels, C, per_class, seed=self._seed, epoch=epoch, sampling="natural"
            )
        drawn = torch.from_numpy(_draw(labels.numpy(), weights, M, rng))
        return drawn.tensor_split(self._batches(M))

    def _batches(self, count: int) -> int:
        """Return the number of batches of an epoch over ``count`` samples."""
        C = len(self.classes_)
        size = sizes(count, C)["per_class"] * C if self.batch_size == "auto" else self.batch_size
        return max(1, round(count / int(size)))

    def _neurons(self, X: Any) -> Any:
        """Return neurons, (B, n_features) -> (B, N + C), class neurons at 0; sparse X as it is."""
        if issparse(X):
            return X
        return torch.nn.functional.pad(self._visible(X), (0, len(self.classes_)))

    @contextlib.contextmanager
    def _training(self, X: Any) -> Iterator[None]:
        """Train in float32, and with one thread for small steps, which more threads slow down.

        Afterwards the model is float64, so that outputs are batch-invariant.
        """
        K, components = self.model_.memories.shape
        rows = -(-X.shape[0] // self._batches(X.shape[0]))
        self.model_.front = nn.Identity()  # batches have passed it already
        self.model_.float()
        try:
            with threadpool_limits(1 if K * components * rows < _ONE_THREAD else None):
                yield
        finally:
            self.model_.double()
            self.model_.front = self._front

    def _calibrate(self, X: Any, labels: Array) -> None:
        """Set beta_sm by these samples; 1 where no finite value > 0 fits."""
        log_energy = self._log_energy(X)
        right = (log_energy.argmax(axis=1) == labels).sum()
        try:  # the rule of succession: no finite number of samples shows an accuracy of 1
            self.beta_sm_ = solve_beta(
                torch.from_numpy(log_energy), float(right + 1) / (len(labels) + 2)
            )
        except InputError:
            self.beta_sm_ = 1.0

    # ---- outputs -----------------------------------------------------------------------------

    def predict(self, X: Any) -> Array:
        """Return the classes with the largest log-energy, (B, n_features) -> (B,)."""
        positions = self._outputs(X).argmax(axis=1)
        return np.asarray(self.classes_[positions])

    def predict_proba(self, X: Any) -> Array:
        """Return the softmax of beta_sm times the log-energies, (B, n_features) -> (B, C).

        Section 5.1 takes the softmax of Y instead, but Y saturates, and for two classes its order
        is not that of ``decision_function``. beta_sm makes the mean confidence on the samples of
        the fit equal to the accuracy on them, (right + 1) / (M + 2). With ``early_stopping`` these
        samples are held out; without it they are those of training, where accuracy and so
        confidence are too high. If no beta_sm fits it is 1: probabilities are shares of the energy.
        """
        outputs = self._outputs(X)
        return np.asarray(softmax(self.beta_sm_ * outputs, axis=1))

    def decision_function(self, X: Any) -> Array:
        """Return log-energies, (B, n_features) -> (B, C); for two classes, second less first, (B,).

        Without an active memory, n times the logarithm of the least normal number.
        """
        outputs = self._outputs(X)
        return outputs[:, 1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs

    def _outputs(self, X: Any) -> Array:
        check_is_fitted(self, "model_")
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        return self._log_energy(X)

    def _log_energy(self, X: Any) -> Array:
        """Return log-energies, (B, n_features) -> (B, C)."""
        floor = _FLOOR * self.model_.power
        with torch.no_grad():
            parts = [
                self.model_.log_energy(self._inputs(X[rows]))
                for rows in gen_batches(X.shape[0], _CHUNK)
            ]
        outputs = torch.cat(parts).double().clamp(min=floor)
        outputs[:, ~self._known] = floor - 1  # never the label, also where no memory is active
        return np.asarray(outputs.numpy())

    def _visible(self, X: Any) -> Tensor:
        """Return visible neurons in the model's dtype, (B, n_features) -> (B, N)."""
        visible: Tensor = self._front(_rows(X))
        return visible.to(self.model_.memories.dtype)

    def _inputs(self, X: Any) -> Tensor:
        """Return inputs of the model, (B, n_features) -> (B, n_features), or (B, N) in training."""
        return _rows(X) if self.model_.front is self._front else self._visible(X)


def _rows(X: Any) -> Tensor:
    """Return rows of a table, dense or sparse, as a tensor (B, n_features) float64."""
    return torch.tensor(X.toarray() if issparse(X) else X)


def _front_of(X: Any) -> Table:
    """Learn the front of a table (M, n_features)."""
    batches = list(gen_batches(X.shape[0], _CHUNK))
    return Table.of_chunks(lambda: (_rows(X[rows]) for rows in batches))


def _draw(labels: Array, weights: Array, count: int, rng: Any) -> Array:
    """Return rows, (count,), in random order: each count * weight / sum times, rounded up or down.

    Systematic sampling, class by class, keeps the shares of the classes.
    """
    order = rng.permutation(len(labels))
    if count == len(labels) and weights.min() == weights.max():
        return np.asarray(order)
    order = order[np.argsort(labels[order], kind="stable")]
    edges = np.cumsum(weights[order])
    edges = np.floor(edges * (count / edges[-1]) + rng.uniform())
    edges[-1] = count
    times = np.diff(edges, prepend=0).astype(np.int64)
    return np.asarray(rng.permutation(np.repeat(order, times)))

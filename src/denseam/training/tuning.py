"""A search for a recipe on held-out examples: Optuna, with successive halving.

Every trial trains on four fifths of the examples and reports its error on the others after each
epoch; the worse two thirds stop after a few epochs, again after three times as many, and so on.
Trials lie in a journal, so an interrupted search goes on where it was.
"""

import time
import warnings
from pathlib import Path
from typing import Any

from denseam.checks import number
from denseam.data import Examples
from denseam.errors import InputError, MissingPackageError
from denseam.training.callbacks import Callback
from denseam.training.loop import train
from denseam.training.recipe import Recipe
from denseam.training.records import EpochRecord
from denseam.training.scale import fit_recipe

__all__ = ["tune"]

_POWERS = (2.0, 3.0, 6.0, 12.0, 20.0, 30.0)
_FIRST = 6.0  # the power of the first trial
_HELD_OUT = 0.2
_FEWEST_EPOCHS = 3  # of a trial


def tune(
    images: Examples,
    seconds: float,
    journal: str | Path | None = None,
    *,
    power: float | None = None,
    epochs: int | None = None,
    **values: Any,
) -> Recipe:
    """Search power, number of memories, temperature and steps; return the best recipe.

    The first trial is ``fit_recipe`` as it is. The temperature is searched where training depends
    on it: for an exponential energy, and for the paper's objective.

    Args:
        images: the training examples; a fifth of them is held out for the search only.
        seconds: of the search, over all calls with the same journal.
        journal: a file that keeps the trials; without it the search cannot go on later.
        power: n, if it is not to be searched.
        epochs: of each trial and of the recipe, as for ``fit_recipe``.
        **values: fields of ``Recipe`` that are not to be searched, by name.

    Raises:
        InputError: for a time that is no number > 0, and as for ``fit_recipe``.
        MissingPackageError: when the package ``optuna`` is not installed.

    >>> import torch
    >>> from denseam.data import FeatureSet
    >>> rows = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    >>> table = FeatureSet(rows, (rows[:, 0] > 0).long(), n_classes=2)
    >>> tune(table, 0.01, power=3, epochs=4).power
    3.0
    """
    optuna = _optuna()
    seconds = number("seconds", seconds, above=0)
    seed = int(values.get("seed", 0))
    split = images.split(test=_HELD_OUT, seed=seed)
    storage = None
    if journal is not None:
        backend = optuna.storages.journal.JournalFileBackend(str(journal))
        storage = optuna.storages.JournalStorage(backend)
    study = optuna.create_study(
        study_name=images.digest()[:16], storage=storage, load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.SuccessiveHalvingPruner(_FEWEST_EPOCHS, reduction_factor=3),
    )  # fmt: skip
    if not study.trials:
        usual = {} if power is not None else {"power": _FIRST}
        study.enqueue_trial({**usual, "memories": 1.0, "steps": 1.0, "temperature": 1.0})

    def error_of(trial: Any) -> float:
        recipe = _recipe(trial, split.train, power, epochs, values)
        report = _Report(trial, optuna.TrialPruned)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                train(recipe, split, callbacks=[report])
            except InputError as error:  # numbers left their range
                raise optuna.TrialPruned from error
        return report.error

    before, start = float(study.user_attrs.get("seconds", 0.0)), time.monotonic()
    spent = before
    while spent < seconds or not any(each.value is not None for each in study.trials):
        study.optimize(error_of, n_trials=1)
        spent = before + time.monotonic() - start
        study.set_user_attr("seconds", spent)
    return _recipe(study.best_trial, images, power, epochs, values)


class _Report(Callback):
    """Tells a trial its errors, and ends it when others are better."""

    def __init__(self, trial: Any, pruned: type[Exception]) -> None:
        self._trial, self._pruned, self.error = trial, pruned, 1.0

    def on_epoch(self, record: EpochRecord) -> None:
        self.error = 1.0 if record.test_error is None else record.test_error
        self._trial.report(self.error, record.epoch + 1)
        if self._trial.should_prune():
            raise self._pruned


def _recipe(
    trial: Any,
    images: Examples,
    power: float | None,
    epochs: int | None,
    values: dict[str, Any],
) -> Recipe:
    """Return the recipe of a trial: what is found from the examples, times the trial's factors."""
    if power is None:
        power = trial.suggest_categorical("power", _POWERS)
    more = trial.suggest_float("memories", 0.5, 4, log=True)
    found = fit_recipe(images, power, epochs, **values)
    if "n_memories" not in values:
        chosen = {**values, "n_memories": max(1, round(found.n_memories * more))}
        found = fit_recipe(images, power, epochs, **chosen)
    factors = {"learning_rate": trial.suggest_float("steps", 0.2, 5, log=True)}
    if "exponential" in (found.energy, found.network) or found.objective == "paper":
        factors["temperature"] = trial.suggest_float("temperature", 0.5, 2, log=True)
    changed = {
        name: float(f"{min(getattr(found, name) * factor, 1e6):.3g}")
        for name, factor in factors.items()
        if name not in values
    }
    return found.replace(**changed)


def _optuna() -> Any:
    """Return the package Optuna, with its log at warnings."""
    try:
        import optuna  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise MissingPackageError("tuning needs Optuna: pip install 'denseam[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna

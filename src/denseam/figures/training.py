"""A training run: errors after every epoch, and the schedule of its recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from denseam.figures import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class TrainingCurves:
    """Numbers of E epochs; errors are fractions of 1."""

    train_errors: tuple[float, ...]  # (E,), or () of a recipe that has not been used
    test_errors: tuple[float, ...]  # (E,), or ()
    temperatures: tuple[float, ...]  # (E,) T
    learning_rates: tuple[float, ...]  # (E,) eps


def record_of(shown: Any) -> TrainingCurves:
    """Return the record of a ``TrainResult`` or a ``Recipe``."""
    recipe, records = getattr(shown, "recipe", shown), getattr(shown, "records", ())
    tested = records and all(record.test_error is not None for record in records)
    epochs = range(len(records) or recipe.epochs)
    return TrainingCurves(
        tuple(record.train_error for record in records),
        tuple(record.test_error for record in records) if tested else (),
        tuple(map(recipe.temperature_at, epochs)),
        tuple(map(recipe.learning_rate_at, epochs)),
    )


def plot(record: Any, axes: Any) -> None:
    """Draw errors on ``axes[0]``, and the schedule on the last: temperature and steps.

    Args:
        record: ``TrainingCurves``, a ``TrainResult``, or a ``Recipe``, which has no errors.
        axes: two Axes; one of them is enough for a recipe.
    """
    record = canvas.as_record(record, TrainingCurves, record_of)
    panels = axes if isinstance(axes, Sequence) else (axes,)
    if record.train_errors:
        errors = {"training": record.train_errors, "test": record.test_errors}
        _draw(panels[0], {name: values for name, values in errors.items() if values}, 100)
        panels[0].set_ylabel("error, %")
        panels[0].set_yscale("symlog", linthresh=0.1)
        panels[0].set_ylim(bottom=0)
    if not record.train_errors or len(panels) > 1:
        schedule = {"temperature T": record.temperatures, r"step $\epsilon$": record.learning_rates}
        for name, values in schedule.items():
            _draw(panels[-1], {f"{name}, at most {max(values):g}": values}, 1 / max(values))
        panels[-1].set(ylabel="share of the largest", ylim=(0, 1.05))


def _draw(ax: "Axes", curves: dict[str, Sequence[float]], factor: float) -> None:
    drawn = len(ax.lines)
    for look, (name, values) in zip(canvas.CURVES[drawn:], curves.items(), strict=False):
        marker = look["marker"] if len(values) == 1 else ""
        ax.plot(
            range(1, len(values) + 1), [factor * value for value in values],
            **{**look, "marker": marker, "label": name},
        )  # fmt: skip
    ax.set_xlabel("epoch")
    ax.locator_params(axis="x", integer=True)
    ax.legend()


def layout(record: TrainingCurves) -> dict[str, Any]:
    """Return size, inches, and panels of the figure."""
    if record.train_errors:
        return {"size": (6.3, 2.6), "columns": 2}
    return {"size": (3.6, 2.6)}


save = canvas.saver(plot, layout, TrainingCurves, record_of)

"""Early warnings of failing training, from its records, with advice; and when to mend it.

Training mends two things by itself. An epoch after which numbers are not finite is repeated from
where it began, with steps of a quarter. A network whose outputs have saturated while images are
wrong, or that loses classes, two epochs in a row, goes on with the cross-entropy of log-energies:
they do not saturate, so that every image has a slope again. Both stand in the records, and a
resumed run does the same.
"""

from collections.abc import Sequence

from denseam.training.recipe import Recipe
from denseam.training.records import EpochRecord

__all__ = ["REPEATS", "SHORTER", "HealthCheck", "diverged"]

# An epoch that is not finite is repeated so often, with steps so much shorter each time.
REPEATS, SHORTER = 3, 0.25

# A class is lost when nearly all of its images are wrong after most of them were right.
_LOST, _LEARNED = 0.95, 0.5
# A larger jump of the objective is a spike, not the noise between two epochs.
_SPIKE = 3.0
# At smaller errors the objective is nearly 0, and one more wrong image multiplies it.
_SPIKE_ERROR = 0.01
# Saturated outputs are the aim of training, unless many images are still wrong.
_SATURATED, _STILL_WRONG = 0.5, 0.2

_LOST_EPOCHS = 2  # before the objective is changed

# Catastrophic overfitting: a longer attack makes this many more of the images wrong.
_HIDDEN = 0.25

# At n = 30 and large steps nearly half of the memories die, and the error still reaches 1.85 %.
_DEAD = 0.5


class HealthCheck:
    """A monitor of records that warns once of every kind of trouble."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._records: list[EpochRecord] = []
        self._said: set[str] = set()
        self._lost = 0  # epochs in a row

    @property
    def lost(self) -> bool:
        """Whether the objective of the paper leads nowhere any more."""
        return self._recipe.objective == "paper" and self._lost >= _LOST_EPOCHS

    def look(self, record: EpochRecord) -> list[str]:
        """Return the warnings about a new record, most often none."""
        troubles = {
            "saturated": self._saturated(record),
            "dying": self._dying_classes(record),
            "spike": self._spike(record),
            "dead": self._dead_memories(record),
            "weak": self._weak_attack(record),
        }
        self._lost = self._lost + 1 if troubles["saturated"] or troubles["dying"] else 0
        self._records.append(record)
        new = {kind: text for kind, text in troubles.items() if text and kind not in self._said}
        self._said.update(new)
        return [f"epoch {record.epoch + 1}: {text}" for text in new.values()]

    def _saturated(self, record: EpochRecord) -> str | None:
        if self._recipe.objective != "paper":  # others have a slope there
            return None
        if record.saturated < _SATURATED or record.train_error < _STILL_WRONG:
            return None
        return (
            f"{record.saturated:.0%} of the class activities are saturated (|Y| = 1, no slope) "
            f"while {record.train_error:.0%} of the images are wrong. {_GENTLER_RAMP}"
        )

    def _dying_classes(self, record: EpochRecord) -> str | None:
        errors = zip(*(r.class_errors for r in self._records), strict=True)
        best = [min(past) for past in errors]
        dying = [
            str(c) for c, (now, was) in enumerate(zip(record.class_errors, best, strict=False))
            if now > _LOST and was < _LEARNED
        ]  # fmt: skip
        if not dying:
            return None
        return (
            f"class{'es' if len(dying) > 1 else ''} {', '.join(dying)} had been learned and "
            f"{'are' if len(dying) > 1 else 'is'} lost again. {_GENTLER_RAMP}"
        )

    def _spike(self, record: EpochRecord) -> str | None:
        recent = self._records[-5:]
        if len(recent) < 5 or record.train_error < _SPIKE_ERROR:
            return None
        if record.train_error < 2 * _median([r.train_error for r in recent]):
            return None
        usual = _median([r.objective for r in recent])
        if not record.objective >= _SPIKE * usual:  # or NaN
            return None
        return (
            f"the objective jumped to {record.objective:.3g} from about {usual:.3g}: the steps are "
            f"too large. Lower the learning rate (now {self._recipe.learning_rate:g}), or the "
            f"momentum (now {self._recipe.momentum:g})."
        )

    def _dead_memories(self, record: EpochRecord) -> str | None:
        share = record.dead_memories / self._recipe.n_memories
        if share < _DEAD:
            return None

        what = "memories" if self._recipe.network == Recipe.network else "hidden units"
        return (
            f"{record.dead_memories} of {self._recipe.n_memories} {what} see no image any more "
            "and cannot learn. Lower the learning rate, or raise the temperature."
        )

    def _weak_attack(self, record: EpochRecord) -> str | None:
        attack = record.attack or {}
        trained, checked = attack.get("attacked_error"), attack.get("checked_error")
        if trained is None or checked is None or checked - trained < _HIDDEN:
            return None
        return (
            f"the attack of training makes {trained:.0%} of the images wrong, one of 20 steps "
            f"{checked:.0%}: the network hides from the attack instead of resisting it "
            "(catastrophic overfitting). Raise adversarial_steps, or lower the size."
        )


_GENTLER_RAMP = (
    "Raise the final temperature, or give the ramp more epochs (temperature, temperature_epochs). "
    "If it does not pass, the next epochs learn by the cross-entropy of log-energies."
)


def diverged(recipe: Recipe, epoch: int, what: str) -> str:
    """Return the message that ``what`` is not finite after an epoch, with advice."""
    T_i, T_f = recipe.temperature_start, recipe.temperature
    constant = T_i == T_f or recipe.temperature_epochs == 0
    remedy = (
        f"raise the temperature (now {T_f:g})"
        if constant
        else f"bring the temperatures nearer to one another (now {T_i:g} and {T_f:g})"
    )
    return (
        f"epoch {epoch + 1}: the {what} of the network {'is' if what == 'objective' else 'are'} "
        f"not finite any more. Lower the learning rate (now {recipe.learning_rate:g}), or {remedy}"
    )


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]

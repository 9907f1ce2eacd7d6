"""The rules of the audit, each with its limit and the question that it asks."""

from dataclasses import dataclass
from enum import StrEnum

USELESS_GRADIENTS = 0.01  # fraction of images, or of steps
ROUNDED_DECISIONS = 0.001  # fraction of images labelled otherwise in float64
POINTS = 0.02  # how much better a weaker kind of attack may be: noise
OVERSTATED = 0.05  # how much higher a head's accuracy may be than the headline
LEFT_AT_THE_END = 0.02  # accuracy when every pixel may take any value


class Verdict(StrEnum):
    """The outcome of a check."""

    PASSED = "passed"
    FLAGGED = "flagged"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Check:
    """One question to one surface, or to the model."""

    name: str
    surface: str | None  # None: the model
    verdict: Verdict
    says: str  # the measurement, in a sentence

    @property
    def flagged(self) -> bool:
        return self.verdict is Verdict.FLAGGED


def _judge(name: str, surface: str | None, says: str, *, flagged: bool) -> Check:
    """Return a check with its verdict."""
    return Check(name, surface, Verdict.FLAGGED if flagged else Verdict.PASSED, says)


def _pc(fraction: float, digits: int = 1) -> str:
    return f"{100 * fraction:.{digits}f} %"


def gradients(surface: str, start: float, path: float, only_float32: float) -> Check:
    """Ask whether gradients have a direction, at the clean images and along the attack."""
    says = (
        f"{_pc(start)} of the gradients at the clean images and {_pc(path)} on the way are zero, "
        "not finite or subnormal"
    )
    if only_float32 > 0:
        says += f"; {_pc(only_float32)} of those at the clean images are not zero in float64"
    return _judge("gradients", surface, says, flagged=max(start, path) > USELESS_GRADIENTS)


def precision(differ: float, count: int) -> Check:
    """Ask whether decisions are the same in float64."""
    says = f"{_pc(differ, 2)} of {count} decisions, on clean and attacked images, change in float64"
    return _judge("float64", None, says, flagged=differ > ROUNDED_DECISIONS)


def steps(surface: str, one: float, many: float) -> Check:
    """Ask whether many small steps attack at least as well as a single large one."""
    says = f"one step leaves {_pc(one)}, many small ones {_pc(many)}"
    return _judge("one step against many", surface, says, flagged=many > one + POINTS)


def black_box(surface: str, white: float, black: float) -> Check:
    """Ask whether attacks with gradients do better than a search without any."""
    says = f"with gradients {_pc(white)} are left, by random search without any {_pc(black)}"
    return _judge("black box", surface, says, flagged=white > black + POINTS)


def transfer(surface: str, white: float, transferred: float | None) -> Check:
    """Ask whether the model's own gradients do better than those of another model."""
    if transferred is None:
        says = "no other model was given to attack in its place"
        return Check("transfer", surface, Verdict.NOT_CHECKED, says)
    says = f"its own gradients leave {_pc(white)}, those of another model {_pc(transferred)}"
    return _judge("transfer", surface, says, flagged=white > transferred + POINTS)


def unbounded(surface: str, left: float) -> Check:
    """Ask whether an attack succeeds on every image when every change is allowed."""
    says = f"with every change allowed {_pc(left)} are still labelled rightly"
    return _judge("unbounded", surface, says, flagged=left > LEFT_AT_THE_END)


def overstated(surface: str, claimed: float, headline: float) -> Check:
    """Ask whether this head's accuracy is the one that all attacks together leave."""
    says = f"through this head {_pc(claimed)} are left, after all attacks {_pc(headline)}"
    return _judge("overstated", surface, says, flagged=claimed > headline + OVERSTATED)

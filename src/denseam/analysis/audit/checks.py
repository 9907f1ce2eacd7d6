"""The rules of the audit, each with its limit, and what a failure means."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Check", "Verdict"]

USELESS_GRADIENTS = 0.01  # fraction of images, or of steps
ROUNDED_DECISIONS = 0.001  # fraction of images labelled otherwise in float64
POINTS = 0.02  # by how much a weaker kind of attack may be better: noise
OVERSTATED = 0.05  # by how much a head's accuracy may lie above the headline
LEFT_AT_THE_END = 0.02  # accuracy when every pixel may take any value


class Verdict(StrEnum):
    """What came of a check."""

    PASSED = "passed"
    FLAGGED = "flagged"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Check:
    """One question to one surface, or to the model."""

    name: str
    surface: str | None  # None: the model
    verdict: Verdict
    says: str  # what was measured, in a sentence

    @property
    def flagged(self) -> bool:
        return self.verdict is Verdict.FLAGGED


def judge(name: str, surface: str | None, says: str, *, flagged: bool) -> Check:
    """A check that was made."""
    return Check(name, surface, Verdict.FLAGGED if flagged else Verdict.PASSED, says)


def _pc(fraction: float, digits: int = 1) -> str:
    return f"{100 * fraction:.{digits}f} %"


def gradients(surface: str, start: float, path: float, only_float32: float) -> Check:
    """Do gradients say anything, at the clean images and on the way from them?"""
    says = (
        f"{_pc(start)} of the gradients at the clean images and {_pc(path)} on the way are zero, "
        "not finite or subnormal"
    )
    if only_float32 > 0:
        says += f"; {_pc(only_float32)} of those at the clean images are not zero in float64"
    return judge("gradients", surface, says, flagged=max(start, path) > USELESS_GRADIENTS)


def precision(differ: float, count: int) -> Check:
    """Are the decisions the same in float64?"""
    says = f"{_pc(differ, 2)} of {count} decisions, on clean and attacked images, change in float64"
    return judge("float64", None, says, flagged=differ > ROUNDED_DECISIONS)


def steps(surface: str, one: float, many: float) -> Check:
    """Are many small steps at least as good an attack as a single large one?"""
    says = f"one step leaves {_pc(one)}, many small ones {_pc(many)}"
    return judge("one step against many", surface, says, flagged=many > one + POINTS)


def black_box(surface: str, white: float, black: float) -> Check:
    """Is the gradient worth more than no gradient?"""
    says = f"with gradients {_pc(white)} are left, by random search without any {_pc(black)}"
    return judge("black box", surface, says, flagged=white > black + POINTS)


def transfer(surface: str, white: float, transferred: float | None) -> Check:
    """Is the model's own gradient worth more than that of another model?"""
    if transferred is None:
        says = "no other model was given to attack in its place"
        return Check("transfer", surface, Verdict.NOT_CHECKED, says)
    says = f"its own gradients leave {_pc(white)}, those of another model {_pc(transferred)}"
    return judge("transfer", surface, says, flagged=white > transferred + POINTS)


def unbounded(surface: str, left: float) -> Check:
    """Does the attack reach everything where it may change everything?"""
    says = f"with every change allowed {_pc(left)} are still labelled rightly"
    return judge("unbounded", surface, says, flagged=left > LEFT_AT_THE_END)


def overstated(surface: str, claimed: float, headline: float) -> Check:
    """Is the number one gets through this head the number that all attacks together leave?"""
    says = f"through this head {_pc(claimed)} are left, after all attacks {_pc(headline)}"
    return judge("overstated", surface, says, flagged=claimed > headline + OVERSTATED)

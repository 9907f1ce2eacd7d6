"""A guard in practice (section 5): junk and attacks are set aside, the rest is labelled."""

from denseam.guard.conformal import needed
from denseam.guard.detector import Scorer
from denseam.guard.guard import Guard
from denseam.guard.model import GuardedModel
from denseam.guard.scores import DEFAULT_SCORE, SCORES
from denseam.guard.verdict import JUNK, REASONS, Reason, Verdict, Verdicts

__all__ = [
    "DEFAULT_SCORE",
    "JUNK",
    "REASONS",
    "SCORES",
    "Guard",
    "GuardedModel",
    "Reason",
    "Scorer",
    "Verdict",
    "Verdicts",
    "needed",
]

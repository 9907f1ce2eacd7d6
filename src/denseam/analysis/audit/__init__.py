"""Masking audit: is a robustness number of this model to be believed?

An attack that fails may have met a robust model, or a gradient that says nothing. The audit attacks
a model through every head it has as anyone would, looks at the gradients themselves, and compares
with attacks that need no such gradient. After Carlini et al. 2019 and Athalye et al. 2018.

``surfaces`` is what is attacked, ``checks`` the rules and their limits, ``run`` the audit.
"""

from denseam.analysis.audit.checks import Check, Verdict
from denseam.analysis.audit.run import Attempt, Audit, audit
from denseam.analysis.audit.surfaces import GradientFacts, Surface, surfaces_of

__all__ = [
    "Attempt",
    "Audit",
    "Check",
    "GradientFacts",
    "Surface",
    "Verdict",
    "audit",
    "surfaces_of",
]

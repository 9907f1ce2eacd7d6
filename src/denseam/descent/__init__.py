"""Descent in pixel space: rubbish images, decision boundaries, the sign-of-gradient family.

`loop` is Eq. 3.2; `goals` is what is descended; `heads` are scores and the way back to pixels,
with directions that never underflow; the rest are the procedures on top of them.
"""

from denseam.descent.boundary import BoundaryResult, cross_boundary
from denseam.descent.result import DescentResult, Distances, Stop
from denseam.descent.rubbish import rubbish
from denseam.descent.sign import basic_iterative, least_likely, sign_gradient

__all__ = [
    "BoundaryResult",
    "DescentResult",
    "Distances",
    "Stop",
    "basic_iterative",
    "cross_boundary",
    "least_likely",
    "rubbish",
    "sign_gradient",
]

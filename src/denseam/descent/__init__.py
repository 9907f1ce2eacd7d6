"""Descent in pixel space: rubbish images, decision boundaries, the sign-of-gradient family.

`loop` is Eq. 3.2, `controller` the same with steps as long as the way is straight; `goals` is what
is descended; `heads` are scores and the way back to pixels, with directions that never underflow.
On top of them `rubbish`, `boundary`, `sign` and `minimum`; `square`, which needs no direction; and
`sets`, which makes image sets of them in parts that outlive an interruption.
"""

from denseam.descent.boundary import BoundaryResult, cross_boundary
from denseam.descent.minimum import minimum_norm
from denseam.descent.result import DescentResult, Distances, Stop
from denseam.descent.rubbish import rubbish
from denseam.descent.sets import attack_set, boundary_set, minimum_set, rubbish_set
from denseam.descent.sign import basic_iterative, least_likely, sign_gradient
from denseam.descent.square import square_attack

__all__ = [
    "BoundaryResult",
    "DescentResult",
    "Distances",
    "Stop",
    "attack_set",
    "basic_iterative",
    "boundary_set",
    "cross_boundary",
    "least_likely",
    "minimum_norm",
    "minimum_set",
    "rubbish",
    "rubbish_set",
    "sign_gradient",
    "square_attack",
]

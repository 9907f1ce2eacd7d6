"""Descent in pixel space: rubbish images, decision boundaries, attacks.

`loop` is Eq. 3.2, `controller` the same with longer steps where the way is straight. `goals` are
functions to descend; `heads` are scores and the way back to pixels, with directions that never
underflow; `batch` is the entrance with its checks. On these stand `rubbish`, `boundary`, `sign`,
`minimum` and `square`, one file each. `attacks` is the table of attacks. `sets` makes image sets,
in chunks that outlive an interruption.
"""

from denseam.descent.attacks import ATTACKS, Attack
from denseam.descent.boundary import BoundaryResult, cross_boundary
from denseam.descent.minimum import minimum_norm
from denseam.descent.result import DescentResult, Distances, Stop
from denseam.descent.rubbish import rubbish
from denseam.descent.sets import attack_set, boundary_set, minimum_set, rubbish_set
from denseam.descent.sign import basic_iterative, least_likely, sign_gradient
from denseam.descent.square import square_attack

__all__ = [
    "ATTACKS",
    "Attack",
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

"""The figures of the paper, each drawn from a record of plain data.

| figure | module | record | what it shows |
|---|---|---|---|
| 3 | `rubbish` | ``RubbishGrid`` | where each class's objective leads from noise, by model |
| 4 | `boundary` | ``BoundaryTrace`` | two objectives on the way across; clean, boundary, final |
| 8 | `sign` | ``SignCurves`` | error and confidence against the size of a sign-of-gradient step |
| any | `grid` | tensors | a contact sheet of images, as PNG |

Each figure has ``plot(record, ax)`` for your own Axes and ``save(record, path)`` for a file.
Nothing here trains or loads a model. Matplotlib is needed to draw, not to import or to make a
record: ``pip install 'denseam[figures]'``.
"""

from denseam.figures import boundary, canvas, grid, rubbish, sign
from denseam.figures.boundary import BoundaryTrace
from denseam.figures.rubbish import RubbishGrid
from denseam.figures.sign import SignCurves

__all__ = [
    "BoundaryTrace",
    "RubbishGrid",
    "SignCurves",
    "boundary",
    "canvas",
    "grid",
    "rubbish",
    "sign",
]

"""The figures of the paper, each drawn from a record of plain data.

| figure | module | record | what it shows |
|---|---|---|---|
| 2 | `memories` | ``MemoryGrids`` | what memories of several powers look like |
| 3 | `rubbish` | ``RubbishGrid`` | images to which the objectives of the classes lead from noise |
| 4 | `boundary` | ``BoundaryTrace`` | two objectives on the way across; clean, boundary, final |
| 5, 7 | `transfer` | ``TransferMap`` | sets made against a model, tested on every model |
| 6 | `confidence` | ``ConfidenceCurves`` | error against confidence, by model |
| 8 | `sign` | ``SignCurves`` | error and confidence against the size of a sign-of-gradient step |
| NIPS16 | `votes` | ``VoteCurves`` | votes of memories, and how many decide about an image |
| - | `budget` | ``BudgetCurves`` | accuracy left as an attacker may move images farther |
| - | `audit` | ``AuditCurves`` | what attacks through each head of a model leave |
| - | `guard` | ``GuardCurves`` | scores that set junk aside, and error against coverage |
| - | `explanation` | ``ExplainedImage`` | an image, and the memories that label it |
| - | `retrieval` | ``RetrievedStates`` | states on their way to stored patterns, energies |
| - | `confusion` | ``Confusion`` | which label the images of each class got |
| - | `training` | ``TrainingCurves`` | errors by epoch, and the schedule of temperature and steps |
| any | `grid` | tensors | a contact sheet of images, as PNG |
| any | `pictures` | files | picture files read as images |

Each module has ``plot(record, ax)``, which draws on your own Axes (two of them where the figure has
two panels), and ``save(record, path)``, which writes a file:

    from denseam.figures import sign
    sign.save(record, "fig8.png")

A module with ``record_of`` also draws objects: models, results, sets. They ask for it in their
``plot()`` (see ``denseam.showing``).

Nothing here trains or loads a model. Drawing needs Matplotlib (``pip install 'denseam[figures]'``);
importing this package and making records do not.
"""

from denseam.figures import grid
from denseam.figures.audit import AuditCurves
from denseam.figures.boundary import BoundaryTrace
from denseam.figures.budget import BudgetCurves
from denseam.figures.confidence import ConfidenceCurves
from denseam.figures.confusion import Confusion
from denseam.figures.explanation import ExplainedImage
from denseam.figures.guard import GuardCurves
from denseam.figures.memories import MemoryGrids
from denseam.figures.retrieval import RetrievedStates
from denseam.figures.rubbish import RubbishGrid
from denseam.figures.sign import SignCurves
from denseam.figures.training import TrainingCurves
from denseam.figures.transfer import TransferMap
from denseam.figures.votes import VoteCurves

__all__ = [
    "AuditCurves",
    "BoundaryTrace",
    "BudgetCurves",
    "ConfidenceCurves",
    "Confusion",
    "ExplainedImage",
    "GuardCurves",
    "MemoryGrids",
    "RetrievedStates",
    "RubbishGrid",
    "SignCurves",
    "TrainingCurves",
    "TransferMap",
    "VoteCurves",
    "grid",
]

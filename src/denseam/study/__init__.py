"""The paper as a resumable pipeline of stages, and its report.

    study = Study(tuple(of_package()), denseam.data.load("mnist"), "mnist", Plan())
    reproduce(study, "results", observer)

`stage` runs stages and knows which are up to date; `stages/` holds one file for each part of the
paper. Stages return rows (`findings`); `claims` judges them by the paper's numbers. `results` puts
everything into one JSON value, and `report` makes pages of it.
To add a stage: write its file, name it in `stages/__init__.py`.
"""

from denseam.study.plan import Plan
from denseam.study.programmes import PROGRAMMES, programme_of
from denseam.study.reproduce import Reproduction, names_wanted, reproduce
from denseam.study.stages import all_stages
from denseam.study.study import Study, default_out
from denseam.study.subjects import Subject, networks_of_package, of_models, of_package, train_models

__all__ = [
    "PROGRAMMES",
    "Plan",
    "Reproduction",
    "Study",
    "Subject",
    "all_stages",
    "default_out",
    "names_wanted",
    "networks_of_package",
    "of_models",
    "of_package",
    "programme_of",
    "reproduce",
    "train_models",
]

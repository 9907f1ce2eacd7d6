"""Studies by name: stages, claims, and how they are told apart. `reproduce --study` takes one.

To add one: its stages and claims, and its row in ``PROGRAMMES``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from denseam.errors import InputError
from denseam.pretrained import certified_names
from denseam.study import certificates, claims, memory, robust
from denseam.study.claims import Claim
from denseam.study.memory import MemoryPlan
from denseam.study.stage import Stage
from denseam.study.stages import all_stages
from denseam.study.study import Study


@dataclass(frozen=True)
class Programme:
    """What a study does: a row of ``PROGRAMMES``."""

    title: str  # of the report
    about: str  # for the help
    stages: Callable[[Study], list[Stage]]
    claims: Sequence[Claim]
    note: Callable[[Study], str | None]  # what is smaller, for a quick one
    plan: Callable[[Study], dict[str, Any]]  # its sizes, as JSON
    models: tuple[str, ...] = ()  # of the package, in place of the paper's


def _memory_plan(study: Study) -> MemoryPlan:
    plan = MemoryPlan.smaller() if study.plan.quick else MemoryPlan()
    return plan.of(seed=study.plan.seed)


def _memory_stages(study: Study) -> list[Stage]:
    plan = _memory_plan(study)
    return [
        *memory.capacity_stages(plan, study.whole),
        *memory.recall_stages(study, plan),
    ]


PROGRAMMES: dict[str, Programme] = {
    "paper": Programme(
        "Dense Associative Memory is Robust to Adversarial Inputs, measured again",
        "the paper",
        all_stages,
        claims.CLAIMS,
        lambda study: study.plan.note(),
        lambda study: study.plan.to_json(),
    ),
    "memory": Programme(
        "What memories hold and give back, measured again",
        "capacity and retrieval in NIPS16 and modern Hopfield networks",
        _memory_stages,
        memory.CLAIMS,
        lambda study: _memory_plan(study).note(),
        lambda study: _memory_plan(study).to_json(),
    ),
    "robust": Programme(
        "Adversarial training of dense associative memories, measured",
        "adversarial training (section 7), of --models: of each power the plain model first",
        robust.robust_stages,
        robust.CLAIMS,
        lambda study: study.plan.note(),
        lambda study: study.plan.to_json(),
    ),
    "certificates": Programme(
        "Dense associative memories, robust by proof",
        "what is certified, what attacks leave, and how both grow with n",
        certificates.certificate_stages,
        certificates.CLAIMS,
        lambda study: study.plan.note(),
        lambda study: study.plan.to_json(),
        ("mnist-n3", "mnist-n30", *certified_names()),
    ),
}
"""Every study, by its name."""


def programme_of(study: Study) -> Programme:
    """Return the row of a study.

    Raises:
        InputError: for a name that there is not.
    """
    if study.programme not in PROGRAMMES:
        raise InputError(f"study = {study.programme!r}: wanted {', '.join(PROGRAMMES)}")
    return PROGRAMMES[study.programme]

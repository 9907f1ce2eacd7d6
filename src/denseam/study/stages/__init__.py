"""The stages of the study, one file for each part of the paper, and their order."""

from denseam.study.stage import Stage
from denseam.study.stages import (
    audit,
    boundary,
    confidence,
    errors,
    guard,
    memories,
    networks,
    rubbish,
    sign,
    transfer,
)
from denseam.study.study import Study

__all__ = ["all_stages"]


def all_stages(study: Study) -> list[Stage]:
    """Return all stages in the paper's order, each after the stages it needs."""
    return [
        errors.stage(study),
        memories.stage(study),
        *rubbish.set_stages(study),
        boundary.ways_stage(study),
        *boundary.set_stages(study),
        transfer.stage(study),
        confidence.stage(study),
        rubbish.transfer_stage(study),
        *guard.stages(study),
        *sign.stages(study),
        audit.stage(study),
        *networks.stages(study),
    ]

"""A finished study as one JSON value: everything that the report and docs/results.md show."""

import datetime as dt
import math
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from denseam.study.claims import judged
from denseam.study.findings import Row
from denseam.study.programmes import programme_of
from denseam.study.stage import Outcome
from denseam.study.study import Study
from denseam.study.subjects import Subject
from denseam.training.environment import processor
from denseam.version import __version__


def results_of(study: Study, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Return rows, tables, figures, claims with verdicts, models, machine and stages.

    The layout is that of ``docs/architecture.md``, "results.json".
    """
    done, programme = list(outcomes.values()), programme_of(study)
    rows = {row.id: row for outcome in done for row in outcome.findings.rows}
    return {
        "denseam": __version__,
        "title": programme.title,
        "command": study.whole,
        "quick": study.plan.quick,
        "quick_note": programme.note(study),
        "dataset": _images(study),
        "models": [_model(subject, rows) for subject in study.subjects],
        "environment": _environment(study, done),
        "stages": [_stage(outcome) for outcome in done],
        "rows": [
            {**row.__dict__, "stage": outcome.stage.name}
            for outcome in done
            for row in outcome.findings.rows
        ],
        "claims": judged(programme.claims, rows, comparable=study.images.name == "mnist"),
        "tables": [
            {
                "id": table.id, "title": table.title, "caption": table.caption,
                "columns": list(table.columns), "stage": outcome.stage.name,
                "rows": [{"head": head, "cells": list(cells)} for head, cells in table.lines],
            }
            for outcome in done
            for table in outcome.findings.tables
        ],
        "figures": [
            {**figure.__dict__, "file": f"figures/{figure.id}.png", "stage": outcome.stage.name,
             "command": outcome.stage.command}
            for outcome in done
            for figure in outcome.findings.figures
        ],
        "plan": programme.plan(study),
    }  # fmt: skip


def _images(study: Study) -> dict[str, Any]:
    return {
        "name": study.images.name,
        "digest": study.test_digest,
        "n_train": len(study.images.train),
        "n_test": len(study.images.test),
    }


def _model(subject: Subject, rows: Mapping[str, Row]) -> dict[str, Any]:
    model, card = subject.model, subject.card
    recipe = card.get("recipe", {})
    prefix = f"errors/{subject.name}/seed-"
    return {
        "name": subject.name,
        "power": None if math.isinf(model.power) else model.power,
        "temperature": model.temperature,
        "n_memories": model.n_memories,
        "digest": subject.digest,
        "source": subject.source,
        "epochs": recipe.get("epochs"),
        "seed": recipe.get("seed"),
        "command": card.get("command"),
        "seeds": [
            {"seed": run["seed"], "epochs": run["epochs"], "error_row": f"{prefix}{run['seed']}"}
            for run in card.get("seeds", [])
            if f"{prefix}{run['seed']}" in rows
        ],
    }


def _stage(outcome: Outcome) -> dict[str, Any]:
    stage = outcome.stage
    return {
        "name": stage.name, "title": stage.title, "seconds": outcome.seconds,
        "key": outcome.key, "command": stage.command, "reused": outcome.reused,
    }  # fmt: skip


def _environment(study: Study, done: Sequence[Outcome]) -> dict[str, Any]:
    latest = max((outcome.finished for outcome in done), default=0.0)
    return {
        "date": dt.datetime.fromtimestamp(latest, dt.UTC).isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(_memory() / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {
            "denseam": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "threads": torch.get_num_threads(),
        "seed": study.plan.seed,
    }


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0

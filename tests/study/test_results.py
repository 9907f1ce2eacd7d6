"""A finished study as one JSON value."""

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from denseam.study.claims import CLAIMS
from denseam.study.findings import Figure, Findings, Row, Table
from denseam.study.report import as_markdown, render
from denseam.study.results import results_of
from denseam.study.stage import Outcome, Stage
from denseam.version import __version__

from . import small
from .sample_results import empty_png

SEEDS = [{"seed": s, "epochs": 4, "error": 0.5, "n_images": 30, "command": "x"} for s in (0, 1)]
CARD = {
    "command": "denseam train --power 2 --out runs/n2", "recipe": {"epochs": 4, "seed": 7},
    "seeds": SEEDS,
}  # fmt: skip
ROWS = (
    Row("errors/n2", "error", 0.2, "denseam evaluate toy-n2", "%", 0.1, 0.3, 30),
    Row("errors/n2/seed-0", "error", 0.5, "denseam train", "%"),
)
WAY = Row("ways/steps", "steps", 12.0, "denseam reproduce --only ways")


def outcome(name, findings, finished=0.0, **fields):
    stage = Stage(name, f"the {name}", f"denseam reproduce --only {name}", lambda _: findings)
    return Outcome(stage, findings, Path(name), f"key of {name}", "digest", 1.5, finished, **fields)


@pytest.fixture
def study():
    found = small.study(2, 30)
    first, second = found.subjects
    return replace(found, subjects=(replace(first, card=CARD), second))


@pytest.fixture
def outcomes():
    lines = (("n = 2", ("errors/n2", {"text": "4 epochs"})), ("n = 30", (None, None)))
    table = Table("errors", "Errors", "Caption", ("model", "error", "how"), lines)
    return {
        "errors": outcome("errors", Findings(ROWS, (table,)), 86400.0, reused=True),
        "ways": outcome(
            "ways", Findings((WAY,), figures=(Figure("fig4", "x.png", "T", "C"),)), 3600.0
        ),
    }


def test_results_are_json_and_fit_for_the_report(study, outcomes):
    found = results_of(study, outcomes)
    again = json.loads(json.dumps(found, allow_nan=False))
    assert all(row.id in render(again, {"fig4": empty_png(1, 1)}) for row in (*ROWS, WAY))
    assert "T](figures/fig4.png)" in as_markdown(again)
    assert again == json.loads(json.dumps(results_of(study, outcomes)))


def test_rows_tables_and_figures_say_of_which_stage_they_are(study, outcomes):
    found = results_of(study, outcomes)
    assert found["rows"][0] == {
        "id": "errors/n2", "what": "error", "value": 0.2, "command": "denseam evaluate toy-n2",
        "unit": "%", "low": 0.1, "high": 0.3, "count": 30, "stage": "errors",
    }  # fmt: skip
    assert [(row["id"], row["stage"]) for row in found["rows"]] == [
        ("errors/n2", "errors"), ("errors/n2/seed-0", "errors"), ("ways/steps", "ways"),
    ]  # fmt: skip
    (table,) = found["tables"]
    assert (table["stage"], table["columns"]) == ("errors", ["model", "error", "how"])
    assert table["rows"] == [
        {"head": "n = 2", "cells": ["errors/n2", {"text": "4 epochs"}]},
        {"head": "n = 30", "cells": [None, None]},
    ]
    (figure,) = found["figures"]
    assert figure == {
        "id": "fig4", "file": "figures/fig4.png", "title": "T", "caption": "C", "stage": "ways",
        "command": "denseam reproduce --only ways",
    }  # fmt: skip


def test_stages_say_when_and_how_they_ran(study, outcomes):
    found = results_of(study, outcomes)
    assert found["stages"][0] == {
        "name": "errors", "title": "the errors", "seconds": 1.5, "key": "key of errors",
        "command": "denseam reproduce --only errors", "reused": True,
    }  # fmt: skip
    assert [stage["reused"] for stage in found["stages"]] == [True, False]
    assert dt.datetime.fromisoformat(found["environment"]["date"]).timestamp() == 86400


def test_models_come_with_training_and_the_seeds_that_have_rows(study, outcomes):
    first, second = results_of(study, outcomes)["models"]
    assert first == {
        "name": "n2", "power": 2, "temperature": 8.0, "n_memories": 12,
        "digest": study.subjects[0].digest, "source": "toy-n2", "epochs": 4, "seed": 7,
        "command": CARD["command"],
        "seeds": [{"seed": 0, "epochs": 4, "error_row": "errors/n2/seed-0"}],
    }  # fmt: skip
    assert (second["name"], second["power"], second["temperature"]) == ("n30", 30, 10.0)
    assert (second["epochs"], second["seed"], second["command"], second["seeds"]) == (
        None, None, None, [],
    )  # fmt: skip


def test_images_machine_and_plan(study, outcomes):
    found = results_of(study, outcomes)
    test = study.images.test
    assert found["dataset"] == {
        "name": "toy", "digest": test.digest(), "n_train": 60, "n_test": 30,
    }  # fmt: skip
    assert study.images.train.digest() != test.digest()
    here = found["environment"]
    assert here["cores"] >= 1
    assert here["memory_gib"] > 0
    assert here["processor"]
    assert here["threads"] == torch.get_num_threads()
    assert here["seed"] == study.plan.seed
    assert found["denseam"] == here["versions"]["denseam"] == __version__
    assert found["plan"] == study.plan.to_json()


def test_a_quick_study_says_so(study, outcomes):
    quick = replace(study, plan=replace(study.plan, quick=True))
    found = results_of(quick, outcomes)
    assert (found["quick"], found["quick_note"]) == (True, quick.plan.note())
    found = results_of(study, outcomes)
    assert (found["quick"], found["quick_note"]) == (False, None)


def test_only_mnist_is_compared_with_the_paper(study, outcomes):
    verdicts = {claim["verdict"] for claim in results_of(study, outcomes)["claims"]}
    assert verdicts == {"cannot be compared"}
    mnist = replace(study, images=small.dataset("mnist"))
    found = {claim["id"]: claim for claim in results_of(mnist, outcomes)["claims"]}
    assert [*found] == [claim.id for claim in CLAIMS]
    assert found["error-n2"]["verdict"] == "not reproduced"
    assert found["error-n3"]["verdict"] == "cannot be compared"


def test_a_study_without_a_finished_stage_has_results(study):
    found = results_of(study, {})
    assert "Nothing: each claim" not in render(json.loads(json.dumps(found)), {})
    assert found["rows"] == found["stages"] == []

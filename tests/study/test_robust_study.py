"""The study of adversarial training, on small models that are trained here."""

import json

import pytest
from training import small as toy

import denseam
from denseam.study import PROGRAMMES, Study, Subject, programme_of, reproduce
from denseam.study.robust import CLAIMS, robust_stages

from .small import PLAN, Seen, dataset, quickly


@pytest.fixture(scope="module")
def study():
    fields = {"objective": "cross-entropy", "logit_scale": 20.0}
    robust = {**fields, "adversarial": "l2:0.4"}
    recipes = {
        "n3": toy.recipe(3, 4, **fields),
        "n30": toy.recipe(30, 4, **fields),
        "n30-2": toy.recipe(30, 8, **robust),
        "n30-3": toy.recipe(30, 8, **fields, adversarial="linf:0.1"),
    }
    models = tuple(
        Subject(name, denseam.train(recipe, dataset().train).model, f"toy-{name}")
        for name, recipe in recipes.items()
    )
    return Study(models, dataset("mnist"), "mnist", PLAN, programme="robust")


@pytest.fixture(scope="module")
def results(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("robust")
    with quickly():
        reproduce(study, out, Seen())
    return json.loads((out / "results.json").read_text())


def test_claims_are_judged_by_rows_of_the_models_that_are_there(study, results):
    rows = {row["id"]: row for row in results["rows"]}
    verdicts = {claim["id"]: claim["verdict"] for claim in results["claims"]}
    assert set(verdicts) == {claim.id for claim in CLAIMS}
    judged = {"robust-30", "accuracy-30", "linf", "likeness", "unsure", "transfer"}
    assert {name for name, verdict in verdicts.items() if verdict != "cannot be compared"} == judged
    for claim in CLAIMS:
        if claim.id in judged:
            first, second = (rows[id_]["value"] for id_ in claim.rows)
            assert (verdicts[claim.id] == "reproduced") == (first > second)
    assert results["title"] == PROGRAMMES["robust"].title
    assert [stage.name for stage in programme_of(study).stages(study)][:2] == [
        "errors", "distances",
    ]  # fmt: skip


def test_rows_tell_what_adversarial_training_has_brought(study, results):
    rows = {row["id"]: row for row in results["rows"]}
    assert rows["distances/l2/n30-2"]["value"] > rows["distances/l2/n30"]["value"]
    for subject in study.subjects:
        error = rows[f"errors/{subject.name}"]
        attacked = rows[f"sure/{subject.name}/error"]
        assert attacked["value"] >= error["value"]
        for what in ("right", "attacked"):
            assert 0 < rows[f"sure/{subject.name}/{what}"]["value"] <= 1
    assert all(rows[f"memories/{s.name}/likeness"]["value"] > 0 for s in study.subjects)


def test_every_row_of_a_claim_belongs_to_a_stage(study):
    stages = {stage.name for stage in robust_stages(study)}
    for claim in CLAIMS:
        for id_ in (*claim.rows, *claim.beside):
            assert id_.partition("/")[0] in stages, id_

"""The study of certificates, on a handful of prototypes of 5 x 5 pixels."""

import json
import math

import pytest
import torch

import denseam
from denseam.baselines import NETWORKS
from denseam.study import PROGRAMMES, Study, Subject, reproduce
from denseam.study.certificates import CLAIMS, certificate_stages, read_with

from .small import PLAN, Seen, dataset, model, quickly

STAGES = ["errors", "proofs", "between", "against-n"]


@pytest.fixture(scope="module")
def study():
    limit = NETWORKS["prototypes"](25, 3, 12, temperature=1.0)
    limit.memories.data = model(2).memories.data.clone()
    subjects = (Subject("n3", model(3), "toy-n3"), Subject("prototypes", limit, "toy-limit"))
    return Study(subjects, dataset("mnist"), "mnist", PLAN, programme="certificates")


@pytest.fixture(scope="module")
def results(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("certificates")
    with quickly():
        reproduce(study, out, Seen(), STAGES)
    return json.loads((out / "results.json").read_text())


def test_proofs_are_those_of_certify_and_attacks_stay_outside(study, results):
    rows = {row["id"]: row for row in results["rows"]}
    subject, test = study.subjects[1], study.images.test.subset(slice(PLAN.boundary_images))
    proven = denseam.certify(subject.model, test.visible(), test.labels)
    assert rows["proofs/prototypes/0.5"]["value"] == proven.accuracy(0.5)
    assert rows["proofs/prototypes/median"]["value"] == pytest.approx(
        float(torch.quantile(proven.radii, 0.5))
    )
    for name in ("n3", "prototypes"):
        assert rows[f"between/{name}/inside"]["value"] == 0
        left, held = (rows[f"between/{name}/{what}/1.58"] for what in ("left", "proven"))
        assert left["value"] >= held["value"]
    verdicts = {claim["id"]: claim["verdict"] for claim in results["claims"]}
    assert verdicts["inside"] == "reproduced"
    assert verdicts["likeness"] == "cannot be compared"
    assert verdicts["known"] == "cannot be compared"  # a handful of images
    assert results["title"] == PROGRAMMES["certificates"].title


def test_memories_are_read_with_another_power(study):
    """With a power of ten thousand the labels are those of the limit."""
    limit, v = study.subjects[1].model, study.images.test.visible()
    assert torch.equal(read_with(limit, 1e4).predict(v), limit.predict(v))
    assert math.isinf(limit.energy.power)


def test_every_row_of_a_claim_belongs_to_a_stage(study):
    stages = {stage.name for stage in certificate_stages(study)}
    assert all(set(stage.needs) <= stages for stage in certificate_stages(study))
    for claim in CLAIMS:
        for id_ in (*claim.rows, *claim.beside):
            assert id_.partition("/")[0] in stages, id_

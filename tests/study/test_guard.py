"""The guard in the study: the paper's pair on rubbish and boundary images."""

import dataclasses
import math

import pytest
import torch

from denseam import data
from denseam.data import Dataset
from denseam.guard import Guard
from denseam.study import all_stages, reproduce
from denseam.study.stages import guard

from . import small
from .small import Seen

SCORES = ("confidence", "profile")


@pytest.fixture(scope="module")
def study():
    return small.study(2, 3, 20, 30, boundary_images=30, rubbish_per_class=4)


@pytest.fixture(scope="module")
def done(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("guard")
    with small.quickly():
        found = reproduce(dataclasses.replace(study, out=str(out)), out, Seen(), ["guard"])
    return out, {row["id"]: row for row in found.results["rows"]}, found.results


def halves(study):
    """Rows of the test images: those to calibrate by, and those to try."""
    order = torch.randperm(30, generator=torch.Generator().manual_seed(study.plan.seed))
    return order[:15], order[15:]


def pair(study, score, behind=0):
    """The guard as the study makes it; 15 clean images can promise 2 in 15."""
    test = study.images.test
    made = Guard(study.subjects[-1].model, study.subjects[behind].model, score=score)
    return made.calibrate(test.subset(halves(study)[0]), 2 / 15, seed=study.plan.seed)


def test_there_is_no_guard_stage_with_one_memory_or_too_few_images(study):
    assert guard.stages(small.study(30)) == []
    few = dataclasses.replace(study.images.test, images=study.images.test.images[:19],
                              labels=study.images.test.labels[:19])  # fmt: skip
    images = Dataset("toy", study.images.train, few)
    assert guard.stages(dataclasses.replace(study, images=images)) == []
    assert [stage.name for stage in guard.stages(study)] == ["guard"]
    assert "guard" in [stage.name for stage in all_stages(small.study(2, 30))]


@pytest.mark.parametrize("score", SCORES)
def test_rows_count_what_the_guard_rejects(study, done, score):
    out, rows, _ = done
    made, (_, others) = pair(study, score), halves(study)
    clean = study.images.test.subset(others)
    row, said = rows[f"guard/{score}/clean/rejected"], made.predict(clean)
    assert (row["count"], row["value"]) == (15, said.n_rejected / 15)
    noticed = said.n_rejected + said.reasons.count("disagree")
    assert rows[f"guard/{score}/clean/noticed"]["value"] == noticed / 15
    for subject in study.subjects:
        junk = data.load(out / "stages" / f"rubbish-{subject.name}-noise-0.1/images.safetensors")
        row = rows[f"guard/{score}/rubbish-{subject.name}/rejected"]
        assert row["count"] == len(junk) == 12
        assert row["value"] == made.predict(junk.visible()).n_rejected / 12


@pytest.mark.parametrize("score", SCORES)
def test_boundary_images_are_those_that_fool_the_guarded_model(study, done, score):
    out, rows, _ = done
    tried = 0
    for behind, victim in enumerate(study.subjects[:2]):
        made = pair(study, score, behind)
        for subject in study.subjects:
            file = out / "stages" / f"boundary-{subject.name}/images.safetensors"
            led = data.load(file).subset(halves(study)[1])
            wrong = victim.model.predict(led.visible()) != led.labels
            name = f"guard/{score}/boundary-{subject.name}-{victim.name}"
            if not bool(wrong.any()):
                assert f"{name}/rejected" not in rows
                continue
            said = made.predict(led.visible()[wrong])
            aside, marked = said.n_rejected, said.reasons.count("disagree")
            assert rows[f"{name}/rejected"]["value"] == aside / len(said)
            assert rows[f"{name}/noticed"]["value"] == (aside + marked) / len(said)
            assert rows[f"{name}/noticed"]["count"] == len(said)
            tried += 1
    assert tried >= 4
    assert not any("boundary-n2-n20" in id_ for id_ in rows)


def test_the_table_has_both_scores(done):
    _, rows, results = done
    (table,) = [each for each in results["tables"] if each["id"] == "guard"]
    assert "13.3 %" in table["caption"]
    for line in table["rows"]:
        head, cells = line["head"], line["cells"]
        told = [tuple(id_.split("/")[1::2]) for id_ in cells]
        assert told == [(score, what) for score in SCORES for what in ("rejected", "noticed")]
        assert len({id_.split("/")[2] for id_ in cells}) == 1, head
        assert all(id_ in rows for id_ in cells)
    assert all(math.isfinite(row["value"]) for row in rows.values())

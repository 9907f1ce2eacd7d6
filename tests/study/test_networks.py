"""Section 7 in the study: memories beside other networks."""

from dataclasses import replace

import pytest
import torch

from denseam import evaluate, minimum_norm
from denseam.baselines import Binarised, NearestNeighbour, PolynomialNetwork
from denseam.errors import InputError
from denseam.evaluation import predict_images
from denseam.study import all_stages, networks_of_package, of_models, of_package, reproduce
from denseam.study.stages import networks
from denseam.study.subjects import Subject

from . import small
from .small import Seen

STAGES = ["networks", "networks-sign", "networks-transfer"]


@pytest.fixture(scope="module")
def study():
    return replace(small.study(2, 30), others=small.others())


@pytest.fixture(scope="module")
def found(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("networks")
    with small.quickly():
        done = reproduce(replace(study, out=str(out)), out, Seen(), STAGES)
    return done.results


def row_of(found, id_):
    (row,) = [row for row in found["rows"] if row["id"] == id_]
    return row


def test_without_other_networks_there_are_no_stages_of_section_7(study):
    assert networks.stages(small.study(2, 30)) == []
    assert [stage.name for stage in networks.stages(study)] == STAGES
    assert [stage.name for stage in all_stages(study)][-3:] == STAGES


def test_errors_and_distances_are_those_of_the_models(study, found):
    for subject in (*study.subjects, *study.others):
        error = row_of(found, f"networks/error/{subject.name}")
        assert error["value"] == pytest.approx(evaluate(subject.model, study.images.test).error)
        images = study.images.test.subset(slice(6))
        for norm in ("l2", "linf"):
            row = row_of(found, f"networks/{norm}/{subject.name}")
            there = minimum_norm(
                subject.model, images.visible(), images.labels, norm=norm, eight_bit=False
            )
            distances = there.distances.l2 if norm == "l2" else there.distances.linf
            farthest = 10.0 if norm == "l2" else 2.0  # the diagonal: 2 sqrt(25)
            distances = torch.where(there.success, distances, farthest)
            assert row["value"] == pytest.approx(float(distances.quantile(0.5)))
            assert row["low"] <= row["value"] <= row["high"]
            assert row["unit"] == "visible units"
            assert row["count"] == 6
            assert f"--norm {norm}" in row["command"]


def test_every_network_is_moved_and_meets_the_images_of_every_other(study, found):
    names = [s.name for s in (*study.subjects, *study.others)]
    for name in names:
        errors = [row_of(found, f"networks/sign/{name}/{e:g}") for e in study.plan.eps[::2]]
        assert errors[0]["value"] <= errors[-1]["value"]
        for victim in names:
            assert row_of(found, f"networks/transfer/{name}/{victim}")["count"] == 6
    (table,) = [t for t in found["tables"] if t["id"] == "networks-transfer"]
    assert len(table["rows"]) == len(table["columns"]) - 1 == len(names)


def test_clean_errors_are_the_first_of_the_curve(study, found):
    images = study.images.test.subset(slice(12))
    for subject in study.others:
        wrong = (predict_images(subject.model, images) != images.labels).double().mean()
        assert row_of(found, f"networks/sign/{subject.name}/0")["value"] == pytest.approx(wrong)


def test_another_network_makes_only_its_stages_run_again(study, tmp_path):
    from .test_study import ran

    ran(study, tmp_path)
    relu = study.others[0]
    with torch.no_grad():
        other = small.others()[0].model
        other.memories[0, 0] += 0.5
    changed = replace(study, others=(replace(relu, model=other), *study.others[1:]))
    assert ran(changed, tmp_path) == STAGES


def test_the_package_has_the_networks_of_section_7():
    subjects = networks_of_package()
    names = [subject.name for subject in subjects]
    assert names[-2:] == ["nearest", "relubinarised"]
    assert {"relu", "rbf"} <= set(names)
    assert any(name.startswith("polynomial") for name in names)
    kinds = {subject.name: type(subject.model) for subject in subjects}
    assert kinds["nearest"] is NearestNeighbour
    assert kinds["relubinarised"] is Binarised
    assert len({subject.digest for subject in subjects}) == len(subjects)


def test_the_plain_study_of_the_package_names_no_models(study):
    whole = replace(
        study, subjects=tuple(of_package()), others=tuple(networks_of_package()),
        images_source="mnist", out="results",
    )  # fmt: skip
    assert whole.alone("networks") == "denseam reproduce --only networks"
    fewer = replace(whole, others=whole.others[:1])
    assert "--models mnist-n2 mnist-n3 mnist-n20 mnist-n30 mnist-polynomial" in fewer.alone("x")


def test_labels_are_for_people():
    polynomial = PolynomialNetwork(25, 3, 4, 3.0, 5.0)
    assert Subject("polynomial3", polynomial, "").label == "polynomial, n = 3"
    assert Subject("relu-2", small.others()[0].model, "").label == "ReLU (2)"
    assert Subject("b", Binarised(polynomial), "").label == "polynomial, n = 3, binarised"


def test_models_given_by_hand_are_told_apart(tmp_path):
    for name, model in (("relu", small.others()[0].model), ("n3", small.model(3))):
        model.save(tmp_path / name)
    images = small.dataset()
    found = of_models([tmp_path / "relu", tmp_path / "n3"], images)
    assert [subject.name for subject in found] == ["n3", "relu"]
    with pytest.raises(InputError, match="one dense associative memory"):
        of_models([tmp_path / "relu"], images)

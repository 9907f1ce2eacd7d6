"""Temperatures that minimise the likelihood, against a search without any thought."""

import json
import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.descent.small import images, random_model

from denseam import DenseAM
from denseam.analysis import (
    compare_calibration,
    confidence_bins,
    confidence_of,
    fit_temperature,
    solve_beta,
)
from denseam.data import ImageSet
from denseam.errors import InputError

INF = math.inf


def obvious_nll(logits, labels, tau):
    """The mean of -log softmax(logits / tau) at the labels, in plain numbers."""
    total = 0.0
    for row, label in zip(logits.double().tolist(), labels.tolist(), strict=True):
        top = max(row)
        total -= (row[label] - top) / tau
        total += math.log(sum(math.exp((x - top) / tau) for x in row))
    return total / len(labels)


def some_logits(B, C, seed, share=0.7):
    """Logits whose largest is that of the label for about ``share`` of the rows."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(B, C, generator=generator, dtype=torch.float64)
    labels = torch.randint(C, (B,), generator=generator)
    rows = torch.rand(B, generator=generator) < share
    logits[rows, labels[rows]] += 2
    return logits, labels


@given(st.integers(2, 60), st.integers(2, 11), st.integers(0, 1000), st.floats(-6, 6))
def test_no_other_temperature_is_likelier(B, C, seed, decade):
    logits, labels = some_logits(B, C, seed)
    logits *= 10**decade
    away = logits - logits.gather(1, labels[:, None])
    assume(float(away.sum()) < 0 < float(away.max()))
    tau = fit_temperature(logits, labels)
    least = obvious_nll(logits, labels, tau)
    assert least <= obvious_nll(logits, labels, 0.99 * tau)
    assert least <= obvious_nll(logits, labels, 1.01 * tau)
    # A shift of all classes of an image is no evidence.
    shifted = logits + torch.randn(B, 1, dtype=torch.float64) * 10**decade
    assert fit_temperature(shifted, labels) == pytest.approx(tau, rel=1e-6)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3 * tau, rel=1e-6)


def test_two_classes_have_a_formula():
    """With away = -d in k of n images and +d in the others, e^(d / tau) = k / (n - k)."""
    logits = torch.tensor([[1.5, 0.0]]).repeat(10, 1)
    labels = torch.tensor([0] * 8 + [1] * 2)
    assert fit_temperature(logits, labels) == pytest.approx(1.5 / math.log(4), rel=1e-9)


def test_the_largest_numbers_do_not_overflow():
    huge = torch.tensor([[1.7e308, -1.7e308]], dtype=torch.float64).repeat(5, 1)
    labels = torch.tensor([0, 0, 0, 0, 1])
    assert fit_temperature(huge / 1e300, labels) == pytest.approx(3.4e8 / math.log(4))
    assert fit_temperature(huge / 4, labels) == pytest.approx(8.5e307 / math.log(4))
    assert fit_temperature(huge[:, :1] * torch.tensor([1, -1]), labels) > 1e308


def test_minus_infinity_is_probability_zero():
    logits, labels = some_logits(40, 3, seed=1)
    padded = torch.cat([logits, torch.full((40, 1), -INF)], dim=1)
    tau = fit_temperature(logits, labels)
    assert fit_temperature(padded, labels) == pytest.approx(tau, rel=1e-9)
    # No temperature helps an image whose right class has none.
    hopeless = torch.tensor([[0.0, 5.0, 1.0, -INF], [-INF] * 4])
    more = torch.cat([padded, hopeless]), torch.cat([labels, torch.tensor([3, 0])])
    assert fit_temperature(*more) == pytest.approx(tau, rel=1e-9)


RIGHT = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 1])
BAD_LOGITS = {
    "all right": (RIGHT, "no temperature is above 0"),
    "all right or equal": ((RIGHT[0] * torch.tensor([[1.0], [0.0]]), RIGHT[1]), "above 0"),
    "all wrong": ((RIGHT[0], 1 - RIGHT[1]), "no temperature is finite"),
    "no better than chance": ((torch.tensor([[1.0, 0.0]] * 2), RIGHT[1]), "is finite"),
    "all alike": ((torch.full((2, 3), 7.0), RIGHT[1]), "is finite"),
    "nothing possible": ((torch.tensor([[-INF, 1.0]]), torch.tensor([0])), "nothing to fit"),
    "nan": ((torch.tensor([[math.nan, 1.0]]), torch.tensor([0])), "finite or -inf"),
    "inf": ((torch.tensor([[INF, 1.0]]), torch.tensor([0])), "finite or -inf"),
    "empty": ((torch.zeros(0, 3), torch.zeros(0).long()), "one image at least"),
    "flat": ((torch.zeros(3), torch.zeros(3).long()), r"floating \(B, C\), got torch.float32 \(3,"),
    "whole": ((torch.zeros(3, 2).long(), torch.zeros(3).long()), "got torch.int64"),
    "lists": (([[0.0]], torch.zeros(1).long()), "got list"),
    "labels": ((torch.zeros(3, 2), torch.zeros(2).long()), "labels must have shape"),
    "a label": ((torch.zeros(1, 2), torch.tensor([2])), r"0\.\.1"),
}


@pytest.mark.parametrize("case", BAD_LOGITS)
def test_where_there_is_no_temperature_that_is_said(case):
    arguments, words = BAD_LOGITS[case]
    with pytest.raises(InputError, match=words):
        fit_temperature(*arguments)


def model_and_images(count=120):
    """A model that is right on most of the images, and whose Y are not saturated."""
    model, v = random_model(3.0), 2 * images(count, 9)
    labels = model.predict(v)
    labels[::4] = (labels[::4] + 1) % 4
    return model, ImageSet(v.reshape(-1, 3, 3), labels, 4)


def halves(count, seed):
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[: count // 2], order[count // 2 :]


@pytest.mark.parametrize(("count", "seed"), [(120, 0), (97, 5)])
def test_every_way_is_fitted_on_one_half_and_measured_on_the_other(count, seed):
    model, some = model_and_images(count)
    found = compare_calibration(model, some, seed)
    fit, test = halves(count, seed)
    v, labels = some.visible(torch.float64), some.labels
    with torch.no_grad():
        Y, gap, energy = model(v), model.energy_gap(v), model.log_energy(v)
    right = Y.argmax(dim=1) == labels
    beta = solve_beta(Y[fit], float(right[fit].double().mean()))
    scores = {"paper": Y, "activity": Y, "log_energy": energy, "energy_gap": gap}
    taus = {"paper": 1 / beta}
    for name in ("activity", "log_energy", "energy_gap"):
        taus[name] = fit_temperature(scores[name][fit], labels[fit])
    assert list(found.ways()) == list(scores)
    assert found.n_fitted == count // 2
    for name, way in found.ways().items():
        tau, held = taus[name], scores[name][test]
        on_activity = name in ("paper", "activity")
        assert way.parameter == pytest.approx(1 / tau if on_activity else tau, rel=1e-9), name
        Z = confidence_of(held, 1 / tau)
        assert way.confidence == pytest.approx(float(Z.mean()))
        assert way.nll == pytest.approx(obvious_nll(held, labels[test], tau))
        bins = confidence_bins(Z, ~right[test])
        assert way.expected_calibration_error == pytest.approx(bins.expected_calibration_error)
        assert way.accuracy == pytest.approx(float(right[test].double().mean()))
        assert way.n_images == count - count // 2
    assert len({way.parameter for way in found.ways().values()}) == 4
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["n_fitted"] == count // 2
    assert plain["energy_gap"] == found.energy_gap.__dict__
    assert set(plain) == {"n_fitted", *scores}


def test_more_images_than_go_through_at_once_are_all_measured():
    model, some = model_and_images(2100)
    assert compare_calibration(model, some).paper.n_images == 1050


def test_impossible_classes_cost_the_floor_and_inactive_images_are_alike():
    """Memory c is active where pixel c is brighter than the others, mostly for class c alone."""
    model = DenseAM(3, 3, 3, 2.0, 1.0, dtype=torch.float64)
    model.memories.data[:, :3] = 0.3 * (2 * torch.eye(3) - 1)
    model.memories.data[:, 3:] = 0.3 * torch.eye(3) + 0.4
    v = 2 * images(300, 3)
    labels = model.predict(v)
    labels[::5] = (labels[::5] + 1) % 3
    some = ImageSet(v.reshape(-1, 1, 3), labels, 3)
    energy = model.log_energy(v).detach()
    impossible = energy.gather(1, labels[:, None])[:, 0] == -INF
    inactive = (energy == -INF).all(dim=1)
    assert int((impossible & ~inactive).sum()) > 0
    assert int(inactive.sum()) > 0
    found = compare_calibration(model, some, 3)
    _, test = halves(300, 3)
    P = torch.softmax(energy[test] / found.log_energy.parameter, dim=1)
    P[inactive[test]] = 1 / 3
    nll = [-math.log(max(P[i, label], 1e-12)) for i, label in enumerate(labels[test].tolist())]
    assert found.log_energy.nll == pytest.approx(sum(nll) / len(nll))
    assert found.log_energy.confidence == pytest.approx(float(P.amax(dim=1).mean()))
    assert found.log_energy.nll > 1
    json.dumps(found.to_json(), allow_nan=False)


def test_sets_that_cannot_be_compared_are_refused():
    model, some = model_and_images()
    with pytest.raises(InputError, match="has no halves"):
        compare_calibration(model, some.subset([0]))
    with pytest.raises(InputError, match="2 x 2"):
        compare_calibration(model, ImageSet(torch.zeros(2, 2, 2), torch.tensor([0, 1]), 2))
    v = some.visible(torch.float64)
    right = ImageSet(some.images, model.predict(v), 4)
    with pytest.raises(InputError, match="mean confidence of 1"):
        compare_calibration(model, right)

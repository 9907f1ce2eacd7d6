"""One formula, four toolkits: the same images."""

import pytest

from .shared import benchmark

COUNT = 300


@pytest.mark.parametrize("name", ["mnist-n3", "mnist-n30"])
@pytest.mark.parametrize("method", benchmark.METHODS)
def test_toolkits_agree(name, method):
    of, eps = benchmark.subject(name, COUNT), 0.1
    images = {toolkit: make(of, method, eps) for toolkit, make in benchmark.TOOLKITS.items()}
    accuracy = {k: 1 - of.fooled(found).double().mean().item() for k, found in images.items()}
    assert max(accuracy.values()) - min(accuracy.values()) <= 0.005, accuracy
    assert 0.01 < accuracy["denseam"] < 0.9
    for toolkit, found in images.items():
        moved = (found - of.images).abs()
        assert 0.09 < moved.amax() <= eps + 1e-6, toolkit
        apart = (found - images["denseam"]).abs() > 1e-5
        assert apart.double().mean() < 1e-3, toolkit


def test_what_counts_as_success():
    of = benchmark.subject("mnist-n3", COUNT)
    assert of.correct.double().mean() > 0.95
    white, nowhere = of.images.clone(), of.images.clone()
    white[:] = 1 - white  # not what it was, and in range
    nowhere[0], nowhere[1], nowhere[2] = float("nan"), float("inf"), 1 - 2 * white[2]
    assert of.fooled(white).double().mean() > 0.5
    assert not of.fooled(nowhere)[:3].any()
    wrong = (~of.correct).nonzero()[:, 0].tolist()
    assert wrong  # they have nowhere to go, wherever they went
    nowhere[wrong[0]], nowhere[wrong[1]] = float("nan"), white[wrong[1]]
    found = of.distances(nowhere, "l2")
    assert found[0] is found[1] is None
    assert all(found[i] == 0 for i in wrong)
    moved = of.distances(white, "linf")
    expected = (white - of.images).abs().flatten(1).amax(dim=1)
    assert moved[0] == pytest.approx(expected[0].item(), abs=1e-6)


def test_a_tie_counts():
    of = benchmark.Subject("mnist-n3", 1)
    of.exact = lambda images: of.model(images).mean(dim=1, keepdim=True).expand(-1, 10)
    assert bool(of.fooled(of.images))

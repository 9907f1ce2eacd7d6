"""Objectives of log-energies: values and memory gradients against autograd of the oracle."""

import pytest
import torch
from torch.nn.functional import cross_entropy, pad

from denseam import energy
from denseam.energies import Exponential, RectifiedPolynomial
from denseam.errors import InputError
from denseam.kernels import OBJECTIVES, CrossEntropy, Margin, by_name, memory_gradient
from denseam.kernels.objectives import LEAD

from .problems import needs_c

B, N, K, C, SCALE = 7, 11, 13, 4, 30.0
FUNCTIONS = [RectifiedPolynomial(1), RectifiedPolynomial(3), RectifiedPolynomial(30)]
BACKENDS = ["reference", pytest.param("cpu", marks=needs_c)]


def problem(dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    v = torch.rand(B, N, generator=generator, dtype=dtype) * 2 - 1
    xi = torch.randn(K, N + C, generator=generator, dtype=dtype).mul_(0.5).clamp_(-1, 1)
    return v, torch.arange(B) % C, xi


def hinge(scores, labels):
    total = 0
    for row, label in zip(scores, labels, strict=True):
        others = [score for c, score in enumerate(row) if c != label]
        total = total + (LEAD - (row[label] - torch.stack(others).max())).clamp(min=0)
    return total


def expected(name, scores, labels):
    if name == "margin":
        return hinge(SCALE * scores, labels)
    return cross_entropy(SCALE * scores, labels, reduction="sum")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("F", [*FUNCTIONS, Exponential(0.3)], ids=str)
@pytest.mark.parametrize("name", ["cross-entropy", "margin"])
def test_values_and_memory_gradients_are_those_of_the_oracle(name, F, backend):
    v, labels, xi = problem()
    leaves = xi.clone().requires_grad_()
    value = expected(name, energy.log_energy(v, leaves, F), labels)
    (slope,) = torch.autograd.grad(value, leaves)
    gradient, outcome = memory_gradient(
        by_name(backend), F, pad(v, (0, C)), labels, xi, temperature=2.0,
        objective=OBJECTIVES[name](4, SCALE), n_classes=C,
    )  # fmt: skip
    assert float(outcome.objective) == pytest.approx(value.item(), rel=1e-10)
    assert (gradient - slope).abs().max() <= 1e-10 * slope.abs().max() > 0
    assert torch.equal(outcome.predicted, energy.log_energy(v, xi, F).argmax(dim=1))
    assert torch.allclose(outcome.activity, energy.class_activity(v, xi, F, 2.0))


@needs_c
def test_images_that_are_wrong_by_far_still_have_a_gradient():
    """tanh has none there: the objective of the paper leaves such memories where they are."""
    v, _, xi = problem(torch.float32)
    wrong = (energy.log_energy(v, xi, 30).argmax(dim=1) + 1) % C
    arguments = by_name("cpu"), RectifiedPolynomial(30), pad(v, (0, C)), wrong, xi
    sizes = {
        name: memory_gradient(
            *arguments, temperature=0.05, objective=make(4, SCALE), n_classes=C
        )[0].abs().max()
        for name, make in OBJECTIVES.items()
    }  # fmt: skip
    assert sizes["paper"] == 0 < min(sizes["cross-entropy"], sizes["margin"])


@needs_c
def test_a_class_that_underflows_beside_the_best_still_has_its_gradient():
    """In float32, (1 / 20)^30 is 0: the sum of the right class needs a scale of its own."""
    xi = torch.zeros(C, N + C)
    xi[:, :N], xi[:, N:] = 0.01, 2 * torch.eye(C) - 1
    xi[1:] *= 0.05
    neurons, labels = pad(torch.full((1, N), 0.01), (0, C)), torch.tensor([1])
    gradient, _ = memory_gradient(
        by_name("cpu"), RectifiedPolynomial(30), neurons, labels, xi, temperature=1.0,
        objective=CrossEntropy(SCALE), n_classes=C,
    )  # fmt: skip
    exact, _ = memory_gradient(
        by_name("reference"), RectifiedPolynomial(30), neurons.double(), labels, xi.double(),
        temperature=1.0, objective=CrossEntropy(SCALE), n_classes=C,
    )  # fmt: skip
    assert gradient[1].abs().max() > 100
    assert torch.allclose(gradient.double(), exact, rtol=1e-4, atol=1e-6 * exact.abs().max())


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), True, "200"])
@pytest.mark.parametrize("kind", [CrossEntropy, Margin])
def test_scales_that_are_no_factor_are_refused(kind, scale):
    with pytest.raises(InputError, match="logit_scale"):
        kind(scale)

"""One update, and several, against the formulas of NIPS16 written out with its own matrices."""

import numpy as np
import pytest
import torch

from denseam import DenseAM, MaxNormMomentum, energy
from denseam.energies import RectifiedPolynomial
from denseam.kernels import Paper, Rule, by_name, memory_gradient
from denseam.kernels import step as training_step

from . import nips16

M, N, K, C = 14, 11, 9, 4
P, UPDATES = 0.8, 5
# n, m and a temperature at which tanh is neither flat nor linear on these images
SETTINGS = [(2, 4, 12.0), (3, 2, 8.0), (5, 3, 7.0), (20, 30, 6.5), (30, 30, 6.6)]
RAMPS = {"constant": lambda step: 1.0, "ramped": lambda step: max(1.0, 1.6 - 0.2 * step)}


def problem():
    """Prototypes with noise, so that some memories are right, some wrong, and some touch +-1."""
    rng = np.random.default_rng(11)
    labels = rng.integers(0, C, M)
    v = np.round((np.where(rng.random((C, N)) < 0.5, -1, 1)[labels] * rng.random((M, N))), 3)
    xi = np.clip(rng.normal(-0.1, 0.6, (K, N + C)), -1, 1)
    rows = rng.integers(0, M, K // 2)
    xi[: K // 2, :N] = np.clip(v[rows] + rng.normal(0, 0.3, (K // 2, N)), -1, 1)
    return v, labels, xi


def check_steps(n, m, T_final, ramp, eps, step):
    """``step(T, eps)`` moves memories as the formulas do; the gradient is compared on the way."""
    v, labels, xi = problem()
    rule = nips16.Rule(xi, P, T_final, n)
    for i in range(UPDATES):
        T = T_final * RAMPS[ramp](i)
        slope, objective = nips16.gradient(v, labels, rule.xi, C, n, m, T)
        rule.step(slope, eps * 0.9**i, T)
        moved, actual, actual_objective = step(T, (T / T_final) ** n, eps * 0.9**i)
        assert np.abs(actual - slope).max() <= 1e-10 * np.abs(slope).max()
        assert actual_objective == pytest.approx(objective, rel=1e-10)
        assert np.abs(moved - rule.xi).max() <= 1e-10 * eps, f"update {i}"
    assert rule.clipped > 0, "nothing was clipped, so clipping was not tested"
    assert np.abs(rule.xi - xi).max() > eps / 2


@pytest.mark.parametrize("ramp", RAMPS)
@pytest.mark.parametrize(("n", "m", "T"), SETTINGS)
@pytest.mark.parametrize("kernel", ["reference", "cpu"])
def test_updates_of_the_training_loop_equal_the_formulas(kernel, n, m, T, ramp):
    v, labels, xi = (torch.from_numpy(x) for x in problem())
    memories, velocity = xi.clone(), torch.zeros_like(xi)
    neurons = torch.nn.functional.pad(v, (0, C))

    def step(T, scale, eps):
        arguments = (by_name(kernel), RectifiedPolynomial(n), neurons, labels, memories)
        head = {"temperature": T, "objective": Paper(m), "n_classes": C}
        slope, _ = memory_gradient(*arguments, **head)
        outcome = training_step(*arguments, velocity, Rule(P, scale, eps, 1e-300), **head)
        return memories.numpy(), slope.numpy(), float(outcome.objective)

    check_steps(n, m, T, ramp, 0.2, step)


@pytest.mark.parametrize("ramp", RAMPS)
@pytest.mark.parametrize(("n", "m", "T"), SETTINGS)
def test_updates_through_autograd_and_the_optimizer_equal_the_formulas(n, m, T, ramp):
    v, labels, xi = (torch.from_numpy(x) for x in problem())
    model = DenseAM(N, C, K, n, T, dtype=torch.float64)
    model.memories.data.copy_(xi)
    optimizer = MaxNormMomentum(model.parameters(), lr=1.0, momentum=P, floor=1e-300)
    target = energy.targets(labels, C, torch.float64)

    def step(T, scale, eps):
        (group,) = optimizer.param_groups
        group["lr"], group["gradient_scale"], model.temperature = eps, scale, T
        optimizer.zero_grad()
        loss = energy.objective(model(v), target, m)
        loss.backward()
        slope = model.memories.grad.clone()
        optimizer.step()
        return model.memories.detach().numpy(), slope.numpy(), loss.item()

    check_steps(n, m, T, ramp, 0.2, step)


def test_the_loop_and_autograd_agree_on_labels_and_activity():
    v, labels, xi = (torch.from_numpy(x) for x in problem())
    model = DenseAM(N, C, K, 20, 6.5, dtype=torch.float64)
    model.memories.data.copy_(xi)
    for kernel in ("reference", "cpu"):
        _, outcome = memory_gradient(
            by_name(kernel), RectifiedPolynomial(20), torch.nn.functional.pad(v, (0, C)), labels,
            xi, temperature=6.5, objective=Paper(30), n_classes=C,
        )  # fmt: skip
        assert torch.equal(outcome.predicted, model.predict(v))
        assert torch.allclose(outcome.activity, model(v), rtol=0, atol=1e-12)

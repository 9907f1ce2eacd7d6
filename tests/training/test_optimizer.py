"""MaxNormMomentum as an optimizer of PyTorch."""

import math
from copy import deepcopy

import pytest
import torch
from torch import nn

from denseam import MaxNormMomentum
from denseam.errors import InputError


def parameter(seed=0, shape=(4, 6), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return nn.Parameter(0.5 * torch.randn(shape, generator=generator, dtype=dtype).clamp(-1, 1))


def give_gradient(memories, seed):
    generator = torch.Generator().manual_seed(seed)
    memories.grad = torch.randn(memories.shape, generator=generator, dtype=memories.dtype)


def test_every_memory_moves_by_the_learning_rate_however_small_its_gradient():
    memories = parameter()
    before = memories.detach().clone()
    give_gradient(memories, 1)
    memories.grad *= torch.tensor([[1.0], [1e-6], [1e-20], [0.0]])
    MaxNormMomentum([memories], lr=0.01).step()
    largest = (memories - before).abs().amax(dim=1)
    assert torch.allclose(largest, torch.tensor([0.01, 0.01, 0.01, 0.0], dtype=torch.float64))


def test_velocities_below_the_floor_move_less():
    memories = parameter()
    before = memories.detach().clone()
    memories.grad = torch.full_like(memories, 1e-6)
    MaxNormMomentum([memories], lr=0.01, floor=1e-4).step()
    assert torch.allclose(before - memories, torch.full_like(before, 1e-4), rtol=1e-6)


def test_the_closure_is_called_with_gradients_on_and_its_value_returned():
    memories = parameter()
    optimizer = MaxNormMomentum([memories], lr=0.01)

    def closure():
        optimizer.zero_grad()
        loss = (memories**2).sum()
        loss.backward()
        return loss

    first = optimizer.step(closure)
    assert optimizer.step(closure).item() < first.item()
    assert optimizer.step() is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_state_dict_round_trip_goes_on_to_the_same_bits(dtype):
    memories, copy = parameter(dtype=dtype), parameter(seed=5, dtype=dtype)
    optimizer = MaxNormMomentum([memories], lr=0.02, momentum=0.7, gradient_scale=3.0)
    give_gradient(memories, 1)
    optimizer.step()
    other = MaxNormMomentum([copy], lr=0.5)
    copy.data.copy_(memories.data)
    other.load_state_dict(deepcopy(optimizer.state_dict()))
    assert other.param_groups[0]["momentum"] == 0.7
    for seed in (2, 3):
        for optimizer_, parameter_ in ((optimizer, memories), (other, copy)):
            give_gradient(parameter_, seed)
            optimizer_.step()
    assert torch.equal(memories, copy)
    assert torch.equal(optimizer.velocity(memories), other.velocity(copy))


def test_parameter_groups_have_their_own_hyperparameters():
    slow, fast = parameter(0), parameter(1)
    starts = [p.detach().clone() for p in (slow, fast)]
    optimizer = MaxNormMomentum(
        [{"params": [slow], "lr": 0.001}, {"params": [fast], "momentum": 0.0}], lr=0.1
    )
    for p in (slow, fast):
        give_gradient(p, 3)
    optimizer.step()
    steps = [(p - s).abs().max().item() for p, s in zip((slow, fast), starts, strict=True)]
    assert steps == pytest.approx([0.001, 0.1])
    assert [g["momentum"] for g in optimizer.param_groups] == [0.9, 0.0]


def test_parameters_without_gradient_stay():
    still, moving = parameter(0), parameter(1)
    before = still.detach().clone()
    give_gradient(moving, 1)
    optimizer = MaxNormMomentum([still, moving], lr=0.1)
    optimizer.step()
    assert torch.equal(still, before)
    assert still not in optimizer.state


def test_memories_that_are_not_contiguous_move_alike():
    plain = parameter(0)
    turned = nn.Parameter(plain.detach().T.contiguous().T)
    assert not turned.is_contiguous()
    for p in (plain, turned):
        optimizer = MaxNormMomentum([p], lr=0.1)
        for seed in (1, 2):
            give_gradient(p, seed)
            optimizer.step()
    assert torch.equal(plain, turned)


def test_exponential_lr_is_the_schedule_of_the_paper():
    memories = parameter()
    optimizer = MaxNormMomentum([memories], lr=0.02)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    for epoch in range(4):
        before = memories.detach().clone()
        memories.grad = torch.sign(memories.detach())  # towards 0: nothing is clipped
        optimizer.step()
        assert (memories - before).abs().max().item() == pytest.approx(0.02 * 0.9**epoch)
        schedule.step()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", 0), ("lr", -0.1), ("lr", math.nan), ("lr", math.inf), ("momentum", 1.0),
        ("momentum", -0.1), ("momentum", math.nan), ("gradient_scale", 0), ("floor", -1),
    ],
)  # fmt: skip
def test_bad_hyperparameters_are_named(name, value):
    with pytest.raises(InputError, match=f"{name} = {value}.*wanted"):
        MaxNormMomentum([parameter()], **{"lr": 0.1, name: value})


def test_a_parameter_that_is_no_matrix_is_refused_and_not_kept():
    with pytest.raises(InputError, match=r"shape \(3,\).*wanted memories \(K, N \+ C\)"):
        MaxNormMomentum([nn.Parameter(torch.zeros(3))], lr=0.1)
    optimizer = MaxNormMomentum([parameter()], lr=0.1)
    with pytest.raises(InputError, match=r"\(2, 3, 4\)"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2, 3, 4))]})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_memories_move_and_stay_numbers(dtype):
    memories = nn.Parameter(torch.zeros(3, 4, dtype=dtype))
    memories.grad = torch.tensor([[0.0] * 4, [1.0] * 4, [1e-3] * 4], dtype=dtype)
    MaxNormMomentum([memories], lr=0.125).step()
    assert memories.isfinite().all()
    assert memories.detach()[:, 0].tolist() == [0, -0.125, -0.125]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", -1.0), ("lr", math.nan), ("lr", "fast"), ("lr", None), ("momentum", 5.0),
        ("momentum", "much"), ("gradient_scale", 0), ("gradient_scale", math.inf), ("floor", -1),
    ],
)  # fmt: skip
def test_bad_hyperparameters_of_a_group_are_named_and_the_group_not_kept(name, value):
    group = {"params": [parameter(1)], name: value}
    with pytest.raises(InputError, match=f"{name} = {value!r}.*wanted"):
        MaxNormMomentum([group], lr=0.1)
    optimizer = MaxNormMomentum([parameter()], lr=0.1)
    with pytest.raises(InputError, match=f"{name} = {value!r}.*wanted"):
        optimizer.add_param_group(group)
    assert len(optimizer.param_groups) == 1

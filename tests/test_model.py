"""DenseAM at its edge: shapes, checks, copies; the numbers are the kernels' tests."""

import copy
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import denseam
from denseam import energy
from denseam.classifier import check_power, check_temperature
from denseam.errors import InputError


def small(**changes: Any) -> denseam.DenseAM:
    sizes = {"n_visible": 12, "n_classes": 3, "n_memories": 7, "power": 5, "temperature": 4.0}
    return denseam.DenseAM(**{**sizes, **changes})


def some_images(B: int = 5, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(B, 12, dtype=dtype) * 2 - 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("B", [0, 1, 5])
def test_results_have_the_documented_shapes_and_types(B: int, dtype: torch.dtype) -> None:
    model, visible = small(dtype=dtype), some_images(B, dtype)
    for function in (model, model.energy_gap, model.log_energy):
        value = function(visible)
        assert value.shape == (B, 3)
        assert value.dtype is dtype
    label = model.predict(visible)
    assert label.shape == (B,)
    assert label.dtype is torch.int64
    assert not label.requires_grad


def test_results_are_those_of_the_paper() -> None:
    model, visible = small(dtype=torch.float64), some_images(9, torch.float64)
    arguments = (visible, model.memories.detach(), 5.0)
    assert torch.allclose(model.energy_gap(visible), energy.energy_gap(*arguments, 4.0))
    assert torch.allclose(model(visible), energy.class_activity(*arguments, 4.0))
    assert torch.allclose(model.log_energy(visible), energy.log_energy(*arguments))
    assert torch.equal(model.predict(visible), energy.log_energy(*arguments).argmax(dim=1))


def test_memory_views_share_the_parameter_and_its_gradient() -> None:
    model = small()
    assert isinstance(model.memories, torch.nn.Parameter)
    assert model.memories.shape == (7, 15)
    assert model.visible_memories.shape == (7, 12)
    assert model.class_memories.shape == (7, 3)
    assert (model.n_visible, model.n_classes, model.n_memories) == (12, 3, 7)
    with torch.no_grad():
        model.visible_memories.fill_(0.25)
        model.class_memories.fill_(-0.75)
    assert model.memories[:, :12].eq(0.25).all()
    assert model.memories[:, 12:].eq(-0.75).all()
    model.class_memories.sum().backward()
    assert model.memories.grad is not None
    assert model.memories.grad.sum() == 21


def test_first_memories_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    a = small(n_visible=784, n_memories=50, seed=3)
    state = torch.get_rng_state()
    b = small(n_visible=784, n_memories=50, seed=3)
    assert torch.equal(a.memories, b.memories)
    assert torch.equal(torch.get_rng_state(), state)  # the caller's generator is not touched
    assert not torch.equal(a.memories, small(n_visible=784, n_memories=50, seed=4).memories)
    start = a.memories.detach()
    assert float(start.abs().max()) <= 1
    assert float(start.mean()) == pytest.approx(-0.3, abs=0.02)
    assert float(start.std()) == pytest.approx(0.3, abs=0.02)


def test_labels_do_not_depend_on_the_temperature() -> None:
    model, visible = small(power=30), some_images(20)
    labels = model.predict(visible)
    for temperature in (1e-6, 1.0, 1e6):
        model.temperature = temperature
        assert torch.equal(model.predict(visible), labels)
    assert model.temperature == 1e6


def test_an_image_that_wakes_no_memory_gets_class_0_and_says_so() -> None:
    model = small()
    with torch.no_grad():
        model.memories.fill_(-1)
    visible = torch.ones(2, 12)
    assert model.predict(visible).tolist() == [0, 0]
    assert bool((model.log_energy(visible) == -math.inf).all())
    assert not bool(model(visible).any())


def test_repr_names_the_sizes() -> None:
    assert repr(small()) == (
        "DenseAM(n_visible=12, n_classes=3, n_memories=7, power=5, temperature=4)"
    )


# ---- copies ----------------------------------------------------------------------------------


def same(a: denseam.DenseAM, b: denseam.DenseAM) -> None:
    assert torch.equal(a.memories, b.memories)
    assert a.memories.dtype is b.memories.dtype
    assert (a.power, a.temperature) == (b.power, b.temperature)
    visible = some_images(dtype=a.memories.dtype)
    assert torch.equal(a(visible), b(visible))


def test_state_dict_carries_power_and_temperature() -> None:
    model, other = small(power=7.5, temperature=2.5, seed=1), small()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    same(model, other)


def test_state_dict_with_an_impossible_power_is_refused() -> None:
    state = small().state_dict()
    state["_extra_state"]["power"] = 0.5
    with pytest.raises(InputError, match=r"power = 0\.5"):
        small().load_state_dict(state)


def test_deepcopy_is_a_model_of_its_own() -> None:
    model = small(power=7, seed=1)
    other = copy.deepcopy(model)
    same(model, other)
    with torch.no_grad():
        other.memories.fill_(0)
    assert bool(model.memories.any())


@pytest.mark.parametrize(
    "convert", [lambda m: m.double(), lambda m: m.to(torch.float64), lambda m: m.to("cpu").double()]
)
def test_conversion_keeps_the_model(
    convert: Callable[[denseam.DenseAM], denseam.DenseAM],
) -> None:
    model = small()
    visible = some_images(20)
    wanted, labels = model(visible), model.predict(visible)
    converted = convert(model)
    assert converted.memories.dtype is torch.float64
    assert torch.allclose(converted(visible.double()), wanted.double(), rtol=1e-4, atol=1e-6)
    assert torch.equal(converted.predict(visible.double()), labels)
    assert (converted.power, converted.temperature) == (5, 4)


def test_a_frozen_model_still_gives_gradients_to_images() -> None:
    model = small().requires_grad_(requires_grad=False)
    visible = some_images().requires_grad_()
    model.log_energy(visible).sum().backward()
    assert bool(visible.grad.any())
    assert model.memories.grad is None


# ---- bad input -------------------------------------------------------------------------------

BAD_IMAGES = {
    "list": ([[0.0] * 12], r"torch\.Tensor \(B, 12\), got list"),
    "nan": (torch.full((2, 12), math.nan), "NaN"),
    "inf": (torch.full((2, 12), math.inf), "infinite"),
    "bytes": (torch.full((2, 12), 200.0), r"got 200\.\.200; these look like 0\.\.255 pixels"),
    "slightly": (torch.full((2, 12), -1.25), r"must lie in \[-1, 1\], got -1\.25\.\.-1\.25"),
    "image": (torch.zeros(2, 1, 3, 4), r"shape \(B, 12\), got \(2, 1, 3, 4\)"),
    "vector": (torch.zeros(12), r"shape \(B, 12\), got \(12,\)"),
    "width": (torch.zeros(2, 15), r"shape \(B, 12\), got \(2, 15\)"),
    "uint8": (torch.zeros(2, 12, dtype=torch.uint8), "got dtype torch.uint8 .*ImageSet.visible"),
    "int64": (torch.zeros(2, 12, dtype=torch.int64), "must be floating.*torch.int64"),
    "bool": (torch.zeros(2, 12, dtype=torch.bool), "must be floating.*torch.bool"),
    "float16": (torch.zeros(2, 12).half(), r"torch\.float16.*torch\.float32.*\.to\(\)"),
    "float64": (torch.zeros(2, 12).double(), r"torch\.float64.*torch\.float32.*\.to\(\)"),
}


@pytest.mark.parametrize("method", ["__call__", "energy_gap", "log_energy"])
@pytest.mark.parametrize("case", BAD_IMAGES)
def test_bad_images_are_refused_with_what_is_wanted(case: str, method: str) -> None:
    visible, message = BAD_IMAGES[case]
    with pytest.raises(InputError, match=message):
        getattr(small(), method)(visible)


@pytest.mark.parametrize("case", ["nan", "inf", "bytes", "slightly", "width"])
def test_labels_of_bad_images_are_refused_too(case: str) -> None:
    visible, message = BAD_IMAGES[case]
    with pytest.raises(InputError, match=message):
        small().predict(visible)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_visible": 0}, "n_visible = 0: wanted a whole number >= 1"),
        ({"n_classes": -1}, "n_classes = -1"),
        ({"n_memories": 0}, "n_memories = 0"),
        ({"n_memories": 2.0}, r"n_memories = 2\.0"),
        ({"n_visible": True}, "n_visible = True"),
        ({"n_visible": "784"}, "n_visible = '784'"),
        ({"power": 0.99}, r"power = 0\.99: wanted a number >= 1"),
        ({"power": math.nan}, "power = nan"),
        ({"power": -math.inf}, "power = -inf"),
        ({"power": True}, "power = True"),
        ({"power": "30"}, "power = '30'"),
        ({"power": None}, "power = None"),
        ({"temperature": 0}, "temperature = 0: wanted a number > 0"),
        ({"temperature": -1.0}, r"temperature = -1\.0"),
        ({"temperature": math.nan}, "temperature = nan"),
        ({"temperature": math.inf}, "temperature = inf"),
        ({"temperature": True}, "temperature = True"),
        ({"dtype": torch.float16}, "torch.float16: wanted torch.float32 or torch.float64"),
        ({"dtype": torch.int64}, "torch.int64"),
    ],
)
def test_impossible_models_are_refused_with_what_was_given(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        small(**changes)


@pytest.mark.parametrize("value", [0, -2.0, math.nan, False, "1"])
def test_temperature_is_checked_when_it_is_set(value: Any) -> None:
    model = small()
    with pytest.raises(InputError, match="temperature"):
        model.temperature = value
    assert model.temperature == 4


def test_good_hyperparameters_become_floats() -> None:
    assert check_power(1) == 1.0
    assert isinstance(check_power(30), float)
    assert check_temperature(1e-30) == 1e-30
    assert isinstance(check_temperature(600), float)


# ---- save and load ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("power", [30, 7.3])
def test_a_saved_model_comes_back_bit_for_bit(
    tmp_path: Path, power: float, dtype: torch.dtype
) -> None:
    model = small(power=power, temperature=math.pi, dtype=dtype, seed=5)
    path = tmp_path / "a model"
    model.save(path)
    same(model, denseam.load(path))
    model.save(str(path))  # over the old file
    loaded = denseam.load(str(path))
    same(model, loaded)
    assert loaded.memories.requires_grad
    loaded.save(tmp_path / "again")
    assert path.read_bytes() == (tmp_path / "again").read_bytes()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_can_be_saved_at_half_the_size(tmp_path: Path, dtype: torch.dtype) -> None:
    model = small(n_memories=500)
    model.save(tmp_path / "whole")
    model.save(tmp_path / "half", dtype=dtype)
    assert (tmp_path / "half").stat().st_size < 0.55 * (tmp_path / "whole").stat().st_size
    loaded = denseam.load(tmp_path / "half")
    assert loaded.memories.dtype is torch.float32
    assert torch.equal(loaded.memories, model.memories.to(dtype).float())
    with pytest.raises(InputError, match=r"dtype = torch.int8: wanted torch.float64, "):
        model.save(tmp_path / "half", dtype=torch.int8)
    same(loaded, denseam.load(tmp_path / "half"))


def test_a_model_in_strange_layout_is_saved_right(tmp_path: Path) -> None:
    model = small()
    model.memories.data = model.memories.data.T.contiguous().T
    model.save(tmp_path / "model")
    same(model, denseam.load(tmp_path / "model"))


def test_the_folder_of_a_finished_run_is_loaded(tmp_path: Path) -> None:
    model = small()
    model.save(tmp_path / "model.safetensors")
    same(model, denseam.load(tmp_path))


def test_sizes_power_and_temperature_may_be_numpy_numbers():
    model = denseam.DenseAM(np.int64(4), 2, np.int32(3), np.int64(30), np.float32(2.5))
    assert (model.n_visible, model.n_memories, model.power, model.temperature) == (4, 3, 30.0, 2.5)
    assert isinstance(model.power, float)


@pytest.mark.parametrize("seed", [1.5, "x", None, True, 2**70, -(2**70)])
def test_a_seed_is_a_whole_number_of_64_bits(seed):
    with pytest.raises(InputError, match=r"seed = .*wanted a whole number"):
        denseam.DenseAM(4, 3, 5, 3, 2.0, seed=seed)


@pytest.mark.parametrize("seed", [-1, 2**64 - 1, np.int64(3)])
def test_every_seed_of_pytorch_will_do(seed):
    generator = torch.Generator().manual_seed(int(seed))
    drawn = torch.empty(5, 7).normal_(-0.3, 0.3, generator=generator).clamp(-1, 1)
    assert torch.equal(denseam.DenseAM(4, 3, 5, 3, 2.0, seed=seed).memories, drawn)


@pytest.mark.parametrize(
    "dtype", ["float16", torch.float8_e4m3fn, torch.int8, torch.complex64, 16], ids=str
)
def test_models_are_saved_in_types_that_are_read_again(tmp_path, dtype):
    with pytest.raises(InputError, match=r"dtype = .*wanted torch.float64, .* or torch.float16"):
        denseam.DenseAM(4, 3, 5, 3, 2.0).save(tmp_path / "m.safetensors", dtype=dtype)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("head", ["softmax", "", None, "Tanh"])
def test_a_head_that_is_none_is_refused(head):
    with pytest.raises(InputError, match=r"head = .*'log_energy', 'energy_gap' or 'tanh'"):
        denseam.DenseAM(4, 3, 5, 3, 2.0).scores(torch.zeros(2, 4), head)


@pytest.mark.parametrize("power", [10**400, 1e300, 1e39, 1_000_001])
def test_powers_beyond_all_use_are_refused(power):
    with pytest.raises(InputError, match=r"power .*wanted a number >= 1 and <= 1e\+06"):
        denseam.DenseAM(4, 3, 5, power, 2.0)


def test_the_largest_power_leaves_the_energy_of_an_active_memory_finite():
    model = denseam.DenseAM(784, 10, 20, 1e6, 2.0)
    v = torch.rand(5, 784, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert model.log_energy(v).isfinite().any(dim=1).all()


@pytest.mark.parametrize("temperature", [10**400, -(10**400)])
def test_temperatures_beyond_all_numbers_are_refused(temperature):
    with pytest.raises(InputError, match=r"temperature .*wanted a number > 0"):
        denseam.DenseAM(4, 3, 5, 3, temperature)

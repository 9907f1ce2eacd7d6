"""Presets, schedules, JSON, and what is refused."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from denseam import Recipe, data
from denseam.baselines import NETWORKS
from denseam.data import ImageSet
from denseam.errors import InputError
from denseam.training.recipe import MNIST_SCALE

from .small import images

POSITIVE = st.floats(1e-3, 1e6)


def recipe_of(ramp, **fields):
    """T_i such that (T_i / T_f)^n is 10^ramp."""
    start = fields["temperature"] * 10 ** (ramp / fields["power"])
    return Recipe(temperature_start=start, **fields)


recipes = st.builds(
    recipe_of,
    ramp=st.floats(-19, 19),
    power=st.floats(1, 100),
    loss_power=st.floats(1, 400),
    temperature=POSITIVE,
    temperature_epochs=st.integers(0, 5000),
    learning_rate=st.floats(1e-9, 2),
    learning_rate_decay=st.floats(1e-3, 1),
    momentum=st.floats(0, 0.999),
    epochs=st.integers(1, 10**6),
    n_memories=st.integers(1, 10**6),
    per_class=st.integers(1, 10**4),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["float32", "float64"]),
)


@pytest.mark.parametrize(
    ("n", "m", "T_i", "T_f"),
    [(2, 4, 400, 100), (3, 4, 400, 100), (20, 30, 560, 560), (30, 30, 600, 600)],
)
def test_the_presets_lie_within_the_ranges_of_nips16(n, m, T_i, T_f):
    r = Recipe.paper(n)
    assert (r.power, r.loss_power, r.temperature_start, r.temperature) == (n, m, T_i, T_f)
    assert r.temperature_epochs == (200 if n < 20 else 0)
    assert (r.epochs, r.n_memories, r.per_class) == (3000, 2000, 100)
    assert r.learning_rate_decay == 0.998
    assert 0.01 <= r.learning_rate <= 0.04
    assert 0.6 <= r.momentum <= 0.95


def test_between_presets_values_are_interpolated_in_log_n():
    r = Recipe.paper(7.745966692414834)  # sqrt(3 * 20): half way in log n
    assert (r.loss_power, r.temperature_start, r.temperature) == (17, 480, 330)
    middle = Recipe.paper(24.494897427831781)
    assert (middle.loss_power, middle.temperature, middle.temperature_epochs) == (30, 580, 0)


def test_beyond_the_presets_the_nearest_one_holds():
    for n, nearest in ((1, 2), (1.5, 2), (31, 30), (100, 30)):
        assert Recipe.paper(n) == Recipe.paper(nearest).replace(power=float(n))


@given(st.floats(1, 120), st.integers(1, 5000))
def test_every_power_and_number_of_epochs_has_a_recipe(n, epochs):
    r = Recipe.paper(n, epochs)
    assert r.epochs == epochs
    assert 0.01 <= r.learning_rate <= 0.04
    assert 0 < r.learning_rate_at(epochs - 1) <= r.learning_rate
    assert r.temperature_epochs <= min(200, round(epochs / 2))
    assert 100 <= r.temperature <= r.temperature_start <= 600


@given(st.floats(1, 120), st.integers(1, 4000), st.integers(1, 4000))
def test_the_fewer_epochs_the_larger_the_first_step_and_the_faster_the_decay(n, one, other):
    short, long = (Recipe.paper(n, e) for e in sorted((one, other)))
    assert short.learning_rate >= long.learning_rate
    assert short.learning_rate_decay <= long.learning_rate_decay


@pytest.mark.parametrize(
    ("n", "short", "long"), [(2, 0.02, 0.02), (3, 0.04, 0.04), (20, 0.02, 0.02), (30, 0.02, 0.01)]
)
def test_the_first_step_is_the_preset_from_300_epochs_on(n, short, long):
    assert Recipe.paper(n, 20).learning_rate == 0.04
    assert Recipe.paper(n, 300).learning_rate == short
    assert Recipe.paper(n).learning_rate == long
    assert Recipe.paper(n, 949).learning_rate == pytest.approx((short + long) / 2, rel=1e-3)


@given(recipes)
def test_the_schedules_start_and_end_where_they_should(r):
    assert r.learning_rate_at(0) == r.learning_rate
    assert r.learning_rate_at(3) == pytest.approx(r.learning_rate * r.learning_rate_decay**3)
    for after in (r.temperature_epochs, r.temperature_epochs + 1, 10**7):
        assert r.temperature_at(after) == r.temperature
        assert r.gradient_scale_at(after) == 1
    if r.temperature_epochs:
        assert r.temperature_at(0) == r.temperature_start


def test_the_temperature_ramp_is_linear_and_the_gradient_scale_follows_it():
    r = Recipe.paper(3, 400, temperature_epochs=200)
    middle = r.temperature_at(100)
    assert middle == (r.temperature_start + r.temperature) / 2
    assert r.gradient_scale_at(100) == pytest.approx((middle / r.temperature) ** 3)
    steps = torch.tensor([r.temperature_at(e) for e in range(201)]).diff()
    assert torch.allclose(steps, torch.full((200,), -1.5))


@given(recipes)
def test_json_round_trip(r):
    assert Recipe.from_json(json.loads(json.dumps(r.to_json(), allow_nan=False))) == r


def test_unknown_and_missing_fields_are_named():
    with pytest.raises(InputError, match=r"no speed; it has power, .*"):
        Recipe.paper(2, speed=3)
    with pytest.raises(InputError, match="no warp"):
        Recipe.paper(2).replace(warp=9)
    fields = Recipe.paper(2).to_json()
    del fields["momentum"], fields["temperature"]
    with pytest.raises(InputError, match="temperature"):
        Recipe.from_json(fields)


_NUMBERS = [math.nan, -1, "much", None, -math.inf]
BAD = {
    "power": [*_NUMBERS, 0.5, math.inf],
    "loss_power": [*_NUMBERS, 0.5, math.inf],
    "temperature": [*_NUMBERS, 0, math.inf],
    "temperature_start": [*_NUMBERS, 0, math.inf],
    "learning_rate": [*_NUMBERS, 0, 2.5, math.inf],
    "learning_rate_decay": [*_NUMBERS, 0, 1.1, math.inf],
    "momentum": [*_NUMBERS, 1, 1.5],
    "temperature_epochs": [-1, 2.5, "ten", None, True],
    "epochs": [0, -3, 2.5, "ten", None, True],
    "n_memories": [0, 1.0, None],
    "per_class": [0, 1.0, None],
    "seed": [-1, 1.5, None, 2**32],
    "dtype": ["float16", "bfloat16", 32, None],
    "products": ["8bit", 8, None],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in BAD.items() for v in vs])
def test_a_bad_value_is_refused_with_field_value_and_what_is_wanted(name, value):
    with pytest.raises(InputError) as caught:
        dataclasses.replace(Recipe.paper(2), **{name: value})
    message = str(caught.value)
    assert message.startswith(f"{name} = {value!r}: wanted "), message


def test_8_bit_products_are_for_float32():
    with pytest.raises(InputError, match="8-bit products go with dtype 'float32', not 'float64'"):
        Recipe.paper(2, products="8-bit", dtype="float64")


@pytest.mark.parametrize(("power", "epochs"), [(0, 3), (math.nan, 3), ("2", 3), (2, 0), (2, 1.5)])
def test_the_preset_refuses_bad_powers_and_epochs(power, epochs):
    with pytest.raises(InputError, match="wanted a"):
        Recipe.paper(power, epochs)


def test_a_constant_temperature_stays_constant_when_it_is_replaced():
    moved = Recipe.paper(30).replace(temperature=500)
    assert (moved.temperature, moved.temperature_start) == (500, 500)
    ramped = Recipe.paper(2).replace(temperature=80)
    assert (ramped.temperature, ramped.temperature_start) == (80, 400)
    both = Recipe.paper(30).replace(temperature=500, temperature_start=600, temperature_epochs=9)
    assert (both.temperature_at(0), both.temperature_at(9)) == (600, 500)


def test_the_scale_of_mnist_is_the_mean_absolute_sum_of_its_training_images():
    visible = data.load("mnist").train.visible(torch.float64)
    assert round(visible.abs().sum(dim=1).mean().item(), 1) == MNIST_SCALE


def test_for_data_leaves_mnist_alone_and_scales_other_sets():
    for images_of in (data.load("mnist").train, data.load("mnist").test):
        assert Recipe.paper(2).for_data(images_of) == Recipe.paper(2)
    black = ImageSet(torch.zeros(3, 5, 5, dtype=torch.uint8), torch.arange(3), 3)  # sum |v_i| = 25
    r = Recipe.paper(3).for_data(black)
    assert (r.temperature, r.temperature_start) == (3.37, 13.5)
    assert r == Recipe.paper(3).replace(temperature=3.37, temperature_start=13.5)
    constant = Recipe.paper(30).for_data(images())
    assert constant.temperature == constant.temperature_start


@pytest.mark.parametrize(
    ("epochs", "fields", "options"),
    [
        (300, {}, []),
        (20, {"seed": 3}, ["--seed 3", "--paper"]),
        (60, {"temperature": 1 / 3, "products": "8-bit"},
         ["--temperature 0.3333333333333333", "--products 8-bit", "--paper"]),
        (60, {"temperature_epochs": 7, "n_memories": 50, "loss_power": 2.5, "momentum": 0.6},
         ["--loss-power 2.5", "--temperature-epochs 7", "--momentum 0.6", "--n-memories 50",
          "--paper"]),
    ],
)  # fmt: skip
def test_the_command_of_a_recipe_is_what_trains_by_it(epochs, fields, options):
    recipe = Recipe.paper(3, epochs, **fields)
    command = recipe.command()
    assert command == " ".join([f"denseam train --power 3 --epochs {epochs}", *options])
    assert trained_by(command) == recipe


def trained_by(command):
    """Return the recipe that `denseam train` makes of a command, on images like MNIST's."""
    from denseam.cli import parser
    from denseam.cli.train import recipe_of

    args = parser().parse_args([*command.split()[1:], "--out", "run"])
    grey = torch.full((3, 28, 28), MNIST_SCALE / 784)
    return recipe_of(args, ImageSet(grey, torch.arange(3), 3))


OTHER = {
    "power": 10 / 3, "loss_power": 7.5, "temperature": 81.25, "temperature_start": 333.0,
    "temperature_epochs": 3, "learning_rate": 1e-5, "learning_rate_decay": 0.75, "momentum": 0.0,
    "epochs": 41, "n_memories": 17, "per_class": 3, "seed": 2**32 - 1, "dtype": "float64",
    "products": "bfloat16", "network": "exponential", "binarised": True,
    "energy": "exponential", "objective": "margin", "logit_scale": 33.25,
    "adversarial": "l2:1.5,linf:0.3", "adversarial_steps": 7, "adversarial_ramp": 0.25, "mix": 0.75,
    "perturbations": "fast",
    "shift": 0.25, "distort": 0.75, "average": 1.5, "keep": "best", "initial": "samples",
    "sampling": "natural", "front": "table", "front_rate": 0.25,
}  # fmt: skip


# These go with others only.
FIELDS = [
    field.name for field in dataclasses.fields(Recipe)
    if field.name not in ("certify", "attacked_target", "levels", "patch")
]  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("power", [2, 30])
def test_the_command_repeats_every_field(name, power):
    recipe = Recipe.paper(power, 60)
    changed = dataclasses.replace(recipe, **{name: OTHER[name]})
    assert changed != recipe
    assert trained_by(changed.command()) == changed


@pytest.mark.parametrize("network", [*NETWORKS])
def test_the_command_repeats_every_network(network):
    power = NETWORKS[network].only_power or 3
    recipe = Recipe.paper(power, 77, network=network, binarised=True, temperature=5.5)
    assert trained_by(recipe.command()) == recipe


def test_the_command_repeats_levels_and_patch():
    recipe = Recipe.paper(20, 9, network="conv-dam", levels="8x3/2,64", patch="2/1")
    assert trained_by(recipe.command()) == recipe


def test_the_command_repeats_the_radius_of_prototypes():
    recipe = Recipe.paper(network="prototypes", epochs=60, certify="linf:0.1")
    assert trained_by(recipe.command()) == recipe
    with pytest.raises(InputError, match="wanted network 'prototypes'"):
        Recipe.paper(3, certify="l2:1.58")
    for text in ("l2", "l2:0", "l2:1,linf:1", "l1:3", 7):
        with pytest.raises(InputError, match="certify"):
            Recipe.paper(network="prototypes", certify=text)


@pytest.mark.parametrize(
    ("power", "start", "end", "dtype"),
    [
        (100, 60, 20, "float32"), (30, 400, 18, "float32"), (600, 400, 100, "float32"),
        (30, 18, 400, "float32"), (600, 400, 100, "float64"), (1e6, 600, 599, "float32"),
    ],
)  # fmt: skip
def test_a_ramp_beyond_the_range_of_the_dtype_is_refused(power, start, end, dtype):
    ramp = {"temperature_start": float(start), "temperature": float(end), "temperature_epochs": 3}
    pattern = rf"^temperature_start = {start} with temperature = {end} .* {dtype} .*wanted "
    with pytest.raises(InputError, match=pattern):
        Recipe.paper(power, 6, dtype=dtype, **ramp)
    none = Recipe.paper(power, 6, dtype=dtype, **{**ramp, "temperature_epochs": 0})
    assert none.gradient_scale_at(0) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("power", [1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100, 120])
def test_presets_of_all_powers_stay_within_the_range(power, dtype):
    for epochs in (20, 300, 3000):
        r = Recipe.paper(power, epochs, dtype=dtype)
        assert 1 <= r.gradient_scale_at(0) < 1e4
    wide = Recipe.paper(30, 6, temperature_start=400.0, temperature=18.0, dtype="float64",
                        temperature_epochs=3)  # fmt: skip
    assert wide.gradient_scale_at(0) == pytest.approx((400 / 18) ** 30)


def test_numbers_of_numpy_become_those_of_python():
    edited = dataclasses.replace(
        Recipe.paper(3), power=np.float32(3), temperature=np.float64(20.5), n_memories=np.int64(5),
        temperature_start=np.int32(400), loss_power=np.float16(4), seed=np.uint8(7),
        momentum=np.float32(0.5),
    )  # fmt: skip
    assert Recipe.from_json(json.loads(json.dumps(edited.to_json()))) == edited
    assert (edited.power, edited.temperature, edited.n_memories, edited.seed) == (3, 20.5, 5, 7)
    for field in dataclasses.fields(Recipe):
        assert type(getattr(edited, field.name)) in (int, float, str, bool)
    assert Recipe.paper(np.float32(3), np.int64(20)) == Recipe.paper(3, 20)


@pytest.mark.parametrize("name", ["loss_power", "learning_rate", "learning_rate_decay", "momentum"])
def test_true_is_no_number(name):
    with pytest.raises(InputError, match=f"{name} = True: wanted a number"):
        dataclasses.replace(Recipe.paper(2), **{name: True})


@pytest.mark.parametrize("power", [10**400, 1e300, 2e6])
def test_powers_beyond_all_use_are_refused(power):
    with pytest.raises(InputError, match=r"power .*wanted a number >= 1 and <= 1e\+06"):
        Recipe.paper(power, 2)


@pytest.mark.parametrize("power", [10 / 3, 2.5, 30.0, 1.0000001, 1234567.0 / 10])
def test_the_command_names_the_power_exactly(power):
    words = Recipe.paper(power, 20).command().split()
    assert float(words[words.index("--power") + 1]) == power

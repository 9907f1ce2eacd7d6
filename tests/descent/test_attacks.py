"""The table of attacks: what holds of every row, and that a new row is all a new attack takes."""

import doctest
import importlib
import json
from typing import Literal

import pytest
import torch
from tests.descent.small import images, prototypes, random_model

from denseam import data
from denseam.checks import choice, whole
from denseam.cli import main
from denseam.data import ImageSet
from denseam.descent import ATTACKS, Attack, DescentResult, attack_set, sign_gradient

SHAPE = (3, 4)


def clean_set(model, count=7, dtype=torch.float32):
    v = images(count, 12, dtype)
    return ImageSet(v.reshape(-1, *SHAPE), model.predict(v), model.n_classes, name="clean")


def call(attack, model, visible, labels, **options):
    """Run an attack as a set would."""
    return attack.function(model, visible, labels, **attack.taken(eps=0.3, shape=SHAPE, **options))


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_keeps_to_the_box_and_to_its_size_and_says_what_it_reached(name):
    attack, model, v = ATTACKS[name], prototypes(20.0), 2 * images(9, 12)
    labels = model.predict(v)
    result = call(attack, model, v, labels, queries=20)
    assert len(result) == len(result.stopped) == 9
    assert result.images.abs().max() <= 1
    if "eps" in attack.parameters:
        assert result.distances.linf.max() <= 0.3 + 1e-12
    assert torch.equal(result.success, model.predict(result.images) != labels)
    assert result.success.any()
    assert torch.equal(result.labels, labels)


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_takes_its_defaults_from_nowhere_else(name):
    """A set of the attack records what the function does when it is given nothing.

    An option of later versions is not recorded where it is off: older sets are none made otherwise.
    """
    attack, model = ATTACKS[name], prototypes(5.0).float()
    clean = clean_set(model)
    size = 0.2 if "eps" in attack.parameters else None
    recorded = attack_set(model, clean, name, size).metadata["parameters"]
    defaults = {option: attack.parameters[option].default for option in attack.options}
    defaults |= attack.usual
    if "loss_power" in defaults:
        defaults["loss_power"] = 4.0
    assert {option: recorded.get(option, False) for option in attack.options} == defaults
    assert recorded["method"] == name


@pytest.mark.parametrize("name", ATTACKS)
def test_a_set_holds_what_the_function_returns_chunk_by_chunk(name):
    attack, model = ATTACKS[name], prototypes(20.0).float()
    clean = clean_set(model)
    size = 0.3 if "eps" in attack.parameters else None
    attacked = attack_set(model, clean, name, size, chunk=3)
    result = call(attack, model, clean.visible(), clean.labels, chunk=3)
    assert torch.equal(attacked.images.flatten(1), result.images)
    assert torch.equal(attacked.facts["success"], result.success)


# ---- a new attack --------------------------------------------------------------------------------

Direction = Literal["lighter", "darker"]


def fade(
    model, visible, labels, eps: float, *,
    way: Direction = "lighter", parts: int = 4, mask: torch.Tensor | None = None, more=None,
) -> DescentResult:  # fmt: skip
    """Make all pixels lighter or darker, then take one step of FGSM.

    Args:
        way: where pixels go.
        parts: share of the size that is for the pixels, 1 / parts.
        mask: pixels to leave alone.
    """
    sign = {"lighter": 1, "darker": -1}[choice("way", way, ("lighter", "darker"))]
    size = eps / whole("parts", parts, 2)
    moved = (visible + sign * size).clamp(-1, 1)
    return sign_gradient(model, moved, labels, eps - size)


@pytest.fixture
def faded(monkeypatch):
    monkeypatch.setitem(ATTACKS, "fade", Attack(fade, "lighter or darker pixels, and FGSM"))


@pytest.mark.usefixtures("faded")
def test_a_row_is_all_that_a_new_attack_takes(tmp_path, capsys):
    model, out = random_model(20.0, torch.float32), tmp_path / "fade.safetensors"
    v = images(6, 9, torch.float32)
    clean = ImageSet(v.reshape(-1, 3, 3), model.predict(v), 4)
    attacked = attack_set(model, clean, "fade", [0, 0.2], out, way="darker", chunk=4)
    assert data.load(out).digest() == attacked.digest()
    assert attacked.metadata["parameters"] == {
        "method": "fade", "eps": [0, 0.2], "way": "darker", "parts": 4, "mask": None, "more": None,
    }  # fmt: skip
    expected = fade(model, v, clean.labels, 0.2, way="darker").images
    torch.testing.assert_close(attacked.images[6:].flatten(1), expected)

    model.save(tmp_path / "model.safetensors")
    clean.save(tmp_path / "clean.npz")
    command = ["attack", str(tmp_path / "model.safetensors"), "--method", "fade", "--eps", "0.2",
               "--dataset", str(tmp_path / "clean.npz"), "--way", "darker", "--json",
               "--out", str(tmp_path / "again.npz")]  # fmt: skip
    assert main(command) == 0
    parameters = json.loads(capsys.readouterr().out)["parameters"]
    assert (parameters["way"], parameters["parts"]) == ("darker", 4)
    again = data.load(tmp_path / "again.npz")
    assert torch.equal(again.images, attacked.images[6:])
    assert main([*command[:-1], str(tmp_path / "x.npz"), "--parts", "1"]) == 2
    assert "parts = 1: wanted a whole number >= 2" in capsys.readouterr().err
    assert main([*command[:-1], str(tmp_path / "x.npz"), "--queries", "1"]) == 2
    assert "--queries is for square, not fade" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["attack", "--help"])
    described = " ".join(capsys.readouterr().out.split())
    assert "fade: lighter or darker pixels, and FGSM" in described
    assert "--mask" not in described
    assert "--way {lighter,darker} fade: where pixels go (default: lighter)" in described


@pytest.mark.usefixtures("faded")
def test_an_unknown_attack_is_refused_with_the_names_of_all(tmp_path):
    model = prototypes()
    with pytest.raises(Exception, match="'minimum', 'square' or 'fade'"):
        attack_set(model, clean_set(model, dtype=torch.float64), "pgd", 0.1)


# ---- examples ------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["boundary", "minimum", "rubbish", "sets", "sign", "square"])
def test_the_examples_of_docstrings_run(module):
    examples = importlib.import_module(f"denseam.descent.{module}")
    assert doctest.testmod(examples, raise_on_error=True).attempted >= 3

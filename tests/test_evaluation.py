"""Errors, intervals and confusions that can be counted by hand."""

import json
import math

import pytest
import torch
from torch import nn

import denseam
from denseam import evaluation
from denseam.data import ImageSet
from denseam.errors import InputError


def model_of_corners(n_classes: int = 3) -> denseam.DenseAM:
    """Calls an image of four pixels after its brightest one; class 3 and above never win."""
    model = denseam.DenseAM(4, n_classes, 4, power=3, temperature=4.0)
    with torch.no_grad():
        model.memories.fill_(-0.5)
        for c in range(4):
            model.memories[c, c] = 1
            model.memories[c, 4 + min(c, 2)] = 1
    return model


def corners(pixels: list[int], labels: list[int], n_classes: int = 3) -> ImageSet:
    images = torch.zeros(len(pixels), 4, dtype=torch.uint8)
    images[torch.arange(len(pixels)), torch.tensor(pixels)] = 255
    return ImageSet(images.reshape(-1, 2, 2), torch.tensor(labels), n_classes, name="corners")


def test_error_confusion_and_class_errors_are_counted() -> None:
    found = denseam.evaluate(model_of_corners(), corners([0, 0, 1, 2, 0, 1], [0, 0, 0, 2, 2, 0]))
    assert found.n_images == 6
    assert found.confusion == ((2, 2, 0), (0, 0, 0), (1, 0, 1))
    assert found.error == pytest.approx(3 / 6)
    assert found.class_errors[0] == pytest.approx(0.5)
    assert math.isnan(found.class_errors[1])  # no image of class 1
    assert found.class_errors[2] == pytest.approx(0.5)
    assert 0 < found.mean_activity <= 1
    assert found.seconds_per_1000 > 0


def test_record_is_plain_json_with_null_for_an_absent_class() -> None:
    found = denseam.evaluate(model_of_corners(), corners([0, 2], [0, 2]))
    record = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert record["class_errors"] == [0.0, None, 0.0]
    assert record["confusion"] == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert record["error"] == 0
    assert record["n_images"] == 2
    assert len(record["error_interval"]) == 2


@pytest.mark.parametrize(
    ("count", "n", "interval"),
    [
        (180, 10000, (0.015574, 0.020797)),  # the paper's 1.80 %
        (10, 20, (0.299298, 0.700702)),
        (0, 10, (0.0, 0.277533)),
        (10, 10, (0.722467, 1.0)),
        (1, 1, (0.206549, 1.0)),
    ],
)
def test_interval_is_wilsons(count: int, n: int, interval: tuple[float, float]) -> None:
    assert evaluation.wilson_interval(count, n) == pytest.approx(interval, abs=2e-6)


def test_interval_holds_exactly_the_proportions_within_z_deviations() -> None:
    low, high = evaluation.wilson_interval(37, 500)
    for edge in (low, high):  # the ends solve |p - edge| = z sqrt(edge (1 - edge) / n)
        deviation = math.sqrt(edge * (1 - edge) / 500)
        assert abs(37 / 500 - edge) == pytest.approx(1.959964 * deviation, rel=1e-9)


def test_chunks_agree_with_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (50, 5, 5), generator=generator, dtype=torch.uint8)
    images = ImageSet(pixels, torch.randint(0, 4, (50,), generator=generator), 4)
    model = denseam.DenseAM(25, 4, 30, power=4, temperature=8.0)
    whole = denseam.evaluate(model, images)
    assert torch.equal(evaluation.predict_images(model, images), model.predict(images.visible()))
    seen = []
    plain = model.predict
    monkeypatch.setattr(model, "predict", lambda v: (seen.append(len(v)), plain(v))[1])
    monkeypatch.setattr(evaluation, "CHUNK", 7)
    parts = denseam.evaluate(model, images)
    assert seen == [7] * 7 + [1]
    assert parts.confusion == whole.confusion
    assert parts.mean_activity == pytest.approx(whole.mean_activity, rel=1e-6)
    activity = model(images.visible()).abs().mean()
    assert whole.mean_activity == pytest.approx(activity.item(), rel=1e-5)


def test_evaluation_leaves_no_graph_and_takes_float64_models() -> None:
    model = model_of_corners().double()
    found = denseam.evaluate(model, corners([0, 1], [0, 1]))
    assert found.error == 0
    assert model.memories.grad is None


def test_images_of_other_pixels_are_refused_with_both_sizes() -> None:
    images = ImageSet(torch.zeros(1, 3, 3, dtype=torch.uint8), torch.tensor([0]), 3, name="nine")
    with pytest.raises(InputError, match=r"nine: images of 3 x 3 = 9 pixels.*n_visible = 4"):
        denseam.evaluate(model_of_corners(), images)


def test_a_module_that_is_none_of_the_package_is_refused() -> None:
    with pytest.raises(InputError, match="wanted a network of denseam, not Linear"):
        denseam.evaluate(torch.nn.Linear(4, 3), corners([0], [0]))


def test_more_classes_than_the_model_has_are_refused() -> None:
    with pytest.raises(InputError, match="5 classes, but the model has 3"):
        denseam.evaluate(model_of_corners(), corners([0], [4], n_classes=5))


def test_fewer_classes_than_the_model_has_are_fine() -> None:
    found = denseam.evaluate(model_of_corners(5), corners([0, 1], [0, 1]))
    assert len(found.confusion) == 5
    assert found.error == 0


class Noise(nn.Module):
    """A front that is not the same twice."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return (inputs + 0.5 * torch.randn_like(inputs)).clamp(-1, 1)


@pytest.mark.parametrize(
    ("front", "words"), [(nn.Dropout(0.5), "is training"), (Noise(), "when asked again")]
)
def test_a_front_that_answers_by_chance_is_refused(front: nn.Module, words: str) -> None:
    model = denseam.DenseAM(4, 3, 4, 3, 4.0, front=front)
    images = corners([0, 1, 2], [0, 1, 2])
    with pytest.raises(InputError, match=words):
        denseam.evaluate(model, images)
    with pytest.raises(InputError, match=words):
        denseam.transfer_errors({"m": model}, {"corners": images})
    if isinstance(front, nn.Dropout):
        assert denseam.evaluate(model.eval(), images).n_images == 3

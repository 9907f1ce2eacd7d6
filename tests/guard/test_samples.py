"""Images as a guard takes them."""

import numpy as np
import pytest
import torch

from denseam.data.arrays import square
from denseam.errors import InputError
from denseam.guard.samples import Samples

from . import small

GRAY = torch.arange(40, dtype=torch.uint8).reshape(2, 5, 4) * 6


def visible(images, shape=(5, 4)):
    return Samples.of(images, 20, shape).visible


def test_all_kinds_of_the_same_images_are_the_same():
    wanted = GRAY.flatten(1).float() / 127.5 - 1
    unit = GRAY.float() / 255
    for given in (GRAY, GRAY[:, None], GRAY.flatten(1), GRAY.numpy(), wanted, wanted.double(),
                  unit, unit[:, None], unit.numpy(), unit.double()):  # fmt: skip
        torch.testing.assert_close(visible(given).float(), wanted, atol=1e-6, rtol=0)


def test_float64_stays():
    assert visible(GRAY.double() / 255).dtype == torch.float64
    assert visible(GRAY.half() / 255).dtype == torch.float32


def test_an_image_set():
    images = small.clean(7)
    torch.testing.assert_close(visible(images), images.visible())


@pytest.mark.parametrize(
    ("images", "scale"), [(torch.zeros(4, 20), 1.0), (torch.zeros(4, 5, 4), 0.5)]
)
def test_bad_values_are_told_apart(images, scale):
    images = images.clone()
    images.view(4, 20)[1, 3] = torch.nan
    images.view(4, 20)[2, 3] = -torch.inf
    images.view(4, 20)[3, 3] = 2 * scale + 0.01
    found = Samples.of(images, 20, None)
    assert found.nonfinite.tolist() == [False, True, True, False]
    assert found.out_of_range.tolist() == [False, False, False, True]
    assert found.valid.tolist() == [True, False, False, False]
    assert bool(found.visible.isfinite().all())
    assert float(found.visible.abs().max()) <= 1


def test_rounding_at_the_edge_is_forgiven():
    edge = torch.full((1, 20), 1 + 5e-7, dtype=torch.float64)
    found = Samples.of(edge, 20, None)
    assert bool(found.valid.all())
    assert float(found.visible.max()) == 1
    assert not bool(Samples.of(edge + 1e-4, 20, None).valid.any())


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(5, 4), torch.zeros(2, 4, 5), torch.zeros(2, 3, 5, 4), torch.zeros(2, 19),
        torch.zeros(20), torch.zeros(2, 5, 4, dtype=torch.int32), np.array(["a", "b"]), None,
        torch.zeros(2, 20, dtype=torch.int64), torch.zeros(2, 20, dtype=torch.bool),
    ],
)  # fmt: skip
def test_other_shapes_and_types_are_refused(images):
    with pytest.raises(InputError):
        Samples.of(images, 20, (5, 4))


def test_one_image_gets_a_hint():
    with pytest.raises(InputError, match="a batch of one"):
        Samples.of(torch.zeros(5, 4), 20, (5, 4))


def test_square():
    assert square(784) == (28, 28)
    assert square(20) is None

"""Bytes, [0, 1] and [-1, 1]: the published arithmetic, to the bit, wherever it is done."""

import numpy as np
import pytest
import torch

from denseam.data import ImageSet
from denseam.data.pixels import to_bytes, to_unit, to_visible
from denseam.errors import InputError

BYTES = torch.arange(256, dtype=torch.uint8)
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
def test_bytes_are_divided_first_and_moved_after(dtype):
    visible = to_visible(BYTES, dtype)
    assert torch.equal(visible, BYTES.to(dtype) / 127.5 - 1)
    assert (visible[0], visible[255]) == (-1, 1)
    images = ImageSet(BYTES.reshape(1, 16, 16), torch.tensor([0]), 1)
    assert torch.equal(images.visible(dtype), visible[None])


def test_bytes_and_units_come_back():
    for dtype in (torch.float32, torch.float64):
        visible = to_visible(BYTES, dtype)
        assert torch.equal(to_bytes(visible), BYTES)
        assert torch.equal(to_bytes(to_unit(visible), scale="unit"), BYTES)
        assert torch.equal(to_bytes(BYTES.to(dtype), scale="byte"), BYTES)
    unit = torch.arange(2**12 + 1) / 2**12
    assert torch.equal(to_unit(to_visible(unit)), unit)
    assert to_bytes(BYTES) is BYTES


def test_floats_in_units_of_bytes():
    grey = torch.tensor([0.0, 0.5, 254.5])
    assert torch.equal(to_visible(grey, scale="byte"), grey / 127.5 - 1)
    assert to_visible(grey, scale="visible") is grey
    assert to_visible(grey, torch.float64).dtype is torch.float64


def test_levels_are_rounded_and_clipped():
    assert to_bytes(torch.tensor([-1.1, -0.999, 0.999, 1.1])).tolist() == [0, 0, 255, 255]
    assert to_bytes(torch.tensor([-0.1, 0.49 / 255, 0.51 / 255]), scale="unit").tolist() == [
        0,
        0,
        1,
    ]


def test_arrays_get_what_tensors_get():
    array = BYTES.numpy()
    array.flags.writeable = False
    for backwards in (array, array[::-1]):
        visible = to_visible(backwards)
        assert isinstance(visible, np.ndarray)
        assert visible.tobytes() == to_visible(torch.tensor(backwards.copy())).numpy().tobytes()
        assert np.array_equal(to_bytes(visible), backwards)
        assert np.array_equal(to_bytes(to_unit(visible), scale="unit"), backwards)


def test_results_are_written_where_they_are_wanted():
    rows = torch.zeros(2, 5)
    view = rows[:, 1:4]
    grey = torch.tensor([[0, 51, 255], [3, 4, 5]], dtype=torch.uint8)
    assert to_visible(grey, out=view) is view
    assert torch.equal(view, to_visible(grey))
    assert to_visible(torch.full((2, 3), 0.25), out=view) is view
    assert (view == -0.5).all()
    assert not rows[:, [0, 4]].any()


def test_gradients_pass():
    unit = torch.tensor([0.25], requires_grad=True)
    to_unit(to_visible(unit)).backward()
    assert unit.grad == 1


def test_other_integers_are_refused():
    with pytest.raises(InputError, match=r"torch\.int64: wanted uint8 0\.\.255, or floating"):
        to_visible(torch.arange(3))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_card_gets_the_bits_of_the_cpu(dtype):
    assert torch.equal(to_visible(BYTES.cuda(), dtype).cpu(), to_visible(BYTES, dtype))

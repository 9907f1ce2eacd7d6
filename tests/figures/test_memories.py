"""Fig. 2: every memory at its place, on one scale."""

import math

import pytest
import torch
from PIL import Image

from denseam.errors import InputError
from denseam.figures import memories

from .small import some_axes, some_memories


def drawn_on(ax):
    (drawn,) = ax.get_images()
    return drawn, torch.from_numpy(drawn.get_array().filled(math.nan))


@pytest.mark.parametrize("across", [None, 1, 2, 7])
def test_every_memory_stands_under_its_name(across):
    record, (ax,) = some_memories(), some_axes()
    memories.plot(record, ax, across=across)
    drawn, whole = drawn_on(ax)
    assert int(whole.isfinite().sum()) == record.images.numel()
    assert [text.get_text() for text in ax.texts] == ["n = 2", "n = 3", "n = 30"]
    wide = min(across or 3, 3)
    for r, (grid, text) in enumerate(zip(record.images, ax.texts, strict=True)):
        x, y = text.xy
        top, left = round(y + 0.5), round(x - 6.5)  # 3 memories of 4 pixels, gaps of 1
        assert (x - 6.5, y + 0.5) == (left, top), "the name stands above the middle"
        assert top == (0 if r < wide else ax.texts[r - wide].xy[1] + 0.5 + 2 * 6 + 3)
        for m, image in enumerate(grid):
            at = whole[top + 6 * (m // 3) :, left + 5 * (m % 3) :]
            assert at[:5, :4].equal(image), (r, m)
    assert whole.shape[1] == 14 + (wide - 1) * 18
    assert [*ax.get_xlim(), *ax.get_ylim()] == drawn.get_extent()


def test_the_scale_is_that_of_weights_whatever_they_are():
    record, (ax,) = some_memories(images=torch.full((3, 5, 5, 4), 0.01)), some_axes()
    memories.plot(record, ax)
    drawn, _ = drawn_on(ax)
    assert drawn.get_clim() == (-1, 1)
    colours = drawn.cmap(drawn.norm([-1.0, 0.0, 1.0]))
    assert colours[0].argmax() == 2 or colours[0, 2] > colours[0, 0], "blue is -1"
    assert min(colours[1, :3]) > 0.9, "white is 0"
    assert colours[2, 0] > colours[2, 2], "red is +1"
    (bar,) = ax.child_axes
    assert list(bar.get_yticks()) == [-1, 0, 1]
    assert [t.get_text() for t in bar.get_yticklabels()] == ["\N{MINUS SIGN}1", "0", "+1"]
    assert bar.get_ylim() == (-1, 1)


def test_saved_grids_are_as_wide_as_a_page_or_a_column(tmp_path):
    record = some_memories(names=tuple("abcd"), images=torch.zeros(4, 25, 28, 28))
    assert (record.rows, record.columns) == (5, 5)
    sizes = []
    for across in (None, 2):
        memories.save(record, tmp_path / "2.png", across=across)
        with Image.open(tmp_path / "2.png") as image:
            sizes.append(image.size)
            assert min(image.convert("L").getextrema()) < 60
    (page, low), (column, high) = sizes
    assert 1800 < page < 2000
    assert 950 < column < 1100
    assert low < 600 < high


def test_less_than_one_grid_side_by_side_is_refused(tmp_path):
    (ax,) = some_axes()
    with pytest.raises(InputError, match="across = 0: wanted 1 grid"):
        memories.plot(some_memories(), ax, across=0)
    with pytest.raises(InputError, match="across = -1"):
        memories.save(some_memories(), tmp_path / "2.png", across=-1)

"""Figs. 5 and 7: a value in every cell, readable, and what is set apart."""

import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from denseam.errors import InputError
from denseam.figures import transfer

from .small import some_axes, some_clean, some_map, some_table


def cells(ax):
    """What is written where: {(x, y): text}."""
    return {text.get_position(): text.get_text() for text in ax.texts}


def names(axis):
    return {label.get_text(): at for label, at in
            zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True)}  # fmt: skip


def test_every_value_stands_in_the_cell_of_its_row_and_column():
    (ax,) = some_axes()
    transfer.plot(some_map(clean=None, samples=None), ax)
    assert cells(ax) == {
        (0.5, 0.5): "99.1", (1.5, 0.5): "20.0", (2.5, 0.5): "0.0",
        (0.5, 1.5): "50.0", (1.5, 1.5): "34.6", (2.5, 1.5): "100.0",
    }  # fmt: skip
    (mesh,) = ax.collections
    assert mesh.get_array().flatten().tolist() == some_table().values.flatten().tolist()
    assert mesh.get_clim() == (0, 1)
    assert names(ax.xaxis) == {"a": 0.5, "b": 1.5, "c": 2.5}
    assert names(ax.yaxis) == {"n = 2": 0.5, "a longer name": 1.5}
    assert ax.get_xlim() == (0, 3)
    assert ax.get_ylim() == (2, 0), "the first row is on top"
    assert ax.get_aspect() == 1
    assert (
        ax.get_xlabel() == "error of each model, %, ± 4.0 at most (95 %)\n70 to 90 images in a row"
    )
    assert ax.get_ylabel() == "images made against"


def test_clean_errors_stand_apart_below():
    (ax,) = some_axes()
    transfer.plot(some_map(samples=None), ax)
    below = {at: text for at, text in cells(ax).items() if at[1] > 2}
    assert list(below.values()) == ["1.6", "2.0", "1.8"]
    ((_, y),) = {(0, y) for _, y in below}
    assert y > 2.5, "there is a gap"
    assert names(ax.yaxis)["clean"] == y
    assert ax.get_ylim() == (y + 0.5, 0)
    table, clean = ax.collections
    assert clean.get_array().flatten().tolist() == some_clean().values.flatten().tolist()
    assert clean.get_clim() == table.get_clim()
    assert "70 to 10000 images" in ax.get_xlabel()
    label = ax.yaxis.get_label()
    assert label.get_position()[1] == pytest.approx(1 - 1 / (y + 0.5)), "beside the table alone"


def test_samples_stand_beside_their_rows_in_their_own_shape():
    record, (ax,) = some_map(), some_axes()
    transfer.plot(record, ax)
    drawn = ax.get_images()
    assert len(drawn) == 4
    for image, (r, s) in zip(drawn, [(0, 0), (0, 1), (1, 0), (1, 1)], strict=True):
        assert torch.equal(torch.from_numpy(image.get_array().data), record.samples[r, s])
        assert (image.get_cmap().name, image.get_clim()) == ("gray", (-1, 1))
        left, right, bottom, top = image.get_extent()
        assert r < top < bottom < r + 1
        assert 3 + s * 0.5 < left < right < ax.get_xlim()[1]
        assert (bottom - top) / (right - left) == pytest.approx(2, rel=0.2)
    assert drawn[0].get_extent()[1] < drawn[1].get_extent()[0]
    assert 3.3 < names(ax.xaxis)["images"] < ax.get_xlim()[1]
    assert ax.get_ylim()[1] == 0


def luminance(colour):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_numbers_can_be_read_on_every_shade():
    values = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None]
    intervals = values[:, :, None].expand(101, 1, 2)
    table = some_table(sources=tuple(map(str, range(101))), victims=("a",), values=values,
                       intervals=intervals, counts=(5,) * 101)  # fmt: skip
    (ax,) = some_axes()
    transfer.plot(some_map(table=table, clean=None, samples=None), ax)
    (mesh,) = ax.collections
    used = set()
    for value, text in zip(values.flatten().tolist(), ax.texts, strict=True):
        pair = sorted([luminance(mesh.to_rgba(value)[:3]), luminance(text.get_color())])
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, "WCAG AA"
        used.add(text.get_color())
    assert used == {"black", "white"}
    assert "\n5 images" in ax.get_xlabel()


def test_maps_save_themselves_as_large_as_they_are(tmp_path):
    sizes = []
    for record in (some_map(clean=None, samples=None), some_map(samples=None), some_map()):
        transfer.save(record, tmp_path / "5.png")
        with Image.open(tmp_path / "5.png") as image:
            sizes.append(image.size)
    assert sizes[0][1] < sizes[1][1] == sizes[2][1]
    assert sizes[0][0] == sizes[1][0] <= sizes[2][0]
    wide = some_map(samples=torch.zeros(2, 9, 6, 6))
    transfer.save(wide, tmp_path / "7.pdf")
    transfer.save(wide, tmp_path / "7.png")
    with Image.open(tmp_path / "7.png") as image:
        assert image.size[0] > sizes[2][0] + 500


def test_clean_images_tested_on_other_models_are_refused():
    with pytest.raises(InputError, match=r"of \('a', 'b', 'd'\)"):
        some_map(clean=some_clean(victims=("a", "b", "d")))

"""Scores and coverage drawn, and pictures read back."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from denseam.errors import DataUnavailableError, FileFormatError, InputError
from denseam.figures import guard
from denseam.figures.pictures import read_pictures

from .small import some_axes


def record(**changes):
    coverage = torch.arange(1, 101, dtype=torch.float64) / 100
    made = guard.GuardCurves(
        ("clean", "noise $x$"), (torch.rand(500), 2 + torch.rand(40)), 1.5,
        ("profile", "gap"), (coverage, coverage), (coverage / 100, coverage / 50),
    )  # fmt: skip
    return replace(made, **changes)


def test_histograms_hold_every_image():
    (ax,) = some_axes()
    scores = torch.tensor([0.0, 0.5, 1.0, 40.0, torch.inf])
    guard.plot_scores(record(scores=(torch.rand(500), scores)), ax)
    shares = [patch.get_data().values for patch in ax.patches]
    assert [pytest.approx(100)] * 2 == [values.sum() for values in shares]
    assert ax.lines[0].get_xdata()[0] == 1.5
    assert ax.get_xlim()[1] < 40
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["clean", r"noise \$x\$"]


def test_the_curves_are_risk_against_coverage():
    (ax,) = some_axes()
    guard.plot_coverage(record(), ax)
    first, second = ax.lines
    assert (first.get_xdata()[0], first.get_ydata()[0]) == (100, 1)
    assert (second.get_xdata()[0], second.get_ydata()[0]) == (100, 2)
    assert min(first.get_xdata()) == 50


def test_a_guard_figure_needs_no_coverage_curve(tmp_path):
    guard.save(record(curves=(), coverage=(), risk=()), tmp_path / "g.svg")
    guard.save(record(), tmp_path / "h.svg")
    assert (tmp_path / "g.svg").read_bytes() != (tmp_path / "h.svg").read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ("clean",)}, "1 names for 2 curves"),
        ({"names": ("a", "a")}, "wanted different ones"),
        ({"names": (), "scores": ()}, "0 curves"),
        ({"scores": (torch.rand(3), torch.full((3,), torch.inf))}, "no finite score"),
        ({"curves": ("a",)}, "1 names for 2 curves"),
    ],
)
def test_sets_and_curves_that_do_not_fit_are_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        guard.save(record(**changes), tmp_path / "g.svg")
    assert not list(tmp_path.iterdir())


# ---- pictures ------------------------------------------------------------------------------------


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 4), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "LA"])
def test_pictures_come_back(tmp_path, pixels, mode):
    path = tmp_path / "p.png"
    picture = Image.fromarray(pixels)
    if mode == "I;16":
        picture = Image.fromarray(pixels.astype(np.uint16) * 257)
    elif mode != "L":
        picture = picture.convert(mode)
    picture.save(path)
    found = read_pictures([path, path], (5, 4))
    assert found.dtype == torch.uint8
    assert found.shape == (2, 5, 4)
    assert np.abs(found[0].numpy().astype(int) - pixels).max() <= (1 if mode == "I;16" else 0)
    assert torch.equal(read_pictures([path], (5, 4), invert=True)[0], 255 - found[0])


def test_transparent_pixels_are_black(tmp_path, pixels):
    picture = Image.fromarray(pixels).convert("LA")
    alpha = np.zeros((5, 4), np.uint8)
    alpha[:2] = 255
    picture.putalpha(Image.fromarray(alpha))
    picture.save(tmp_path / "p.png")
    (found,) = read_pictures([tmp_path / "p.png"], (5, 4))
    assert np.array_equal(found[:2].numpy(), pixels[:2])
    assert int(found[2:].sum()) == 0


def test_other_sizes_are_scaled_or_refused(tmp_path, pixels):
    large = np.repeat(np.repeat(pixels, 3, axis=0), 3, axis=1)
    path = tmp_path / "large.png"
    Image.fromarray(large).save(path)
    (found,) = read_pictures([path], (5, 4))
    assert np.array_equal(found.numpy(), pixels)
    with pytest.raises(InputError, match="12 x 15 pixels, wanted 4 x 5"):
        read_pictures([path], (5, 4), scale=False)


def test_files_that_are_no_pictures_are_refused(tmp_path, pixels, monkeypatch):
    with pytest.raises(DataUnavailableError, match="no file"):
        read_pictures([tmp_path / "none.png"], (5, 4))
    path = tmp_path / "bad.png"
    path.write_bytes(b"no picture")
    with pytest.raises(FileFormatError, match="not a whole picture"):
        read_pictures([path], (5, 4))
    big = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90), dtype=np.uint8)).save(big)
    path.write_bytes(big.read_bytes()[:3000])
    with pytest.raises(FileFormatError, match="not a whole picture"):
        read_pictures([path], (5, 4))
    monkeypatch.setattr("denseam.data.pictures._PIXELS", 10)
    with pytest.raises(InputError, match="too many"):
        read_pictures([big], (5, 4))


def test_no_picture_is_an_empty_batch():
    assert read_pictures([], (5, 4)).shape == (0, 5, 4)

"""Figures on the disk: whole, the same bytes every time, and without any state left behind."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image

from denseam.errors import InputError, MissingPackageError, SaveError
from denseam.figures import boundary, canvas, confidence, memories, rubbish, sign, votes
from denseam.figures.grid import grid, save_grid

from .small import some_confidences, some_curves, some_grid, some_memories, some_trace, some_votes

SIGNATURES = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


def line(ax):
    ax.plot([0, 1], [0, 1])
    ax.set_xlabel("x")


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_the_same_figure_is_the_same_bytes(suffix, tmp_path):
    for name in ("one", "two"):
        canvas.save(tmp_path / f"{name}{suffix}", line, size=(1.5, 1))
    one, two = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "two"))
    assert one == two
    assert one.startswith(SIGNATURES[suffix])
    for fact in (b"dc:date", b"CreationDate", b"matplotlib.org", b"Matplotlib v"):
        assert fact not in one.replace(
            b"<!-- Created with matplotlib (https://matplotlib.org/)", b""
        )


def test_png_has_its_size_and_a_white_ground(tmp_path):
    canvas.save(str(tmp_path / "a.PNG"), line, size=(1.5, 1))
    with Image.open(tmp_path / "a.PNG") as image:
        assert image.size == (450, 300)
        assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)


def test_axes_come_row_by_row_in_their_ratios(tmp_path):
    seen = []

    def draw(*axes):
        seen.extend(axes)
        axes[0].figure.set_layout_engine("none")

    canvas.save(
        tmp_path / "a.png", draw, size=(2, 2), rows=2, columns=2, widths=(1, 3), heights=(2, 1)
    )
    assert len(seen) == 4
    boxes = [ax.get_position() for ax in seen]
    assert boxes[1].width == pytest.approx(3 * boxes[0].width)
    assert boxes[0].height == pytest.approx(2 * boxes[2].height)
    assert boxes[0].y0 > boxes[2].y0


@pytest.mark.parametrize(("name", "suffix"), [("a.jpg", ".jpg"), ("a", "")])
def test_another_kind_of_file_is_refused_before_drawing(name, suffix, tmp_path):
    with pytest.raises(InputError, match=f"a figure is a .png, .svg, .pdf file, got '{suffix}'"):
        canvas.save(tmp_path / name, lambda *axes: pytest.fail("drawn"))


def test_a_drawing_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(ax):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        canvas.save(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(SaveError, match="nowhere"):
        canvas.save(tmp_path / "nowhere" / "a.png", line)


def test_files_are_written_atomically(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("denseam.files.write_bytes", lambda path, data: written.append(path))
    canvas.save(tmp_path / "a.png", line, size=(1, 1))
    save_grid(torch.zeros(1, 2, 2), tmp_path / "b.png")
    assert written == [tmp_path / "a.png", tmp_path / "b.png"]
    assert list(tmp_path.iterdir()) == []


def test_the_users_settings_neither_show_nor_change(tmp_path):
    canvas.save(tmp_path / "a.png", line, size=(1, 1))
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        before = dict(mpl.rcParams)
        canvas.save(tmp_path / "b.png", line, size=(1, 1))
        assert dict(mpl.rcParams) == before
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_every_figure_saves_itself(tmp_path):
    rubbish.save(some_grid(), tmp_path / "3.png")
    boundary.save([some_trace()], tmp_path / "4.png")
    boundary.save([some_trace(), some_trace()], tmp_path / "4-stacked.png")
    sign.save(some_curves(), tmp_path / "8.png")
    sizes = {}
    for path in tmp_path.iterdir():
        with Image.open(path) as image:
            sizes[path.stem] = image.size
            assert min(image.convert("L").getextrema()) < 60  # something is drawn
    assert sizes["8"] == (1890, 720)
    assert sizes["3"] == (1200, 516)
    assert sizes["4"][0] > sizes["4"][1]
    assert sizes["4-stacked"] == (1350, 990)


def test_without_matplotlib_the_first_drawing_says_what_to_install(tmp_path, monkeypatch):
    wanted = r"^figures need matplotlib: pip install 'denseam\[figures\]'$"
    for missing in ("matplotlib", "PIL"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, missing, None)
            record = some_grid()  # records are plain data
            with pytest.raises(MissingPackageError, match=wanted):
                rubbish.save(record, tmp_path / "a.png")
            with pytest.raises(MissingPackageError, match=wanted):
                save_grid(torch.zeros(1, 2, 2), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def in_a_fresh_process(code):
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_importing_figures_imports_nothing_that_draws():
    in_a_fresh_process(
        "import sys, denseam.figures\n"
        "assert not {'matplotlib', 'PIL'} & set(sys.modules)\n"
        "denseam.figures.BoundaryTrace, denseam.figures.rubbish.save, denseam.figures.grid.grid\n"
    )


def test_drawing_never_imports_pyplot(tmp_path):
    in_a_fresh_process(
        "import sys, torch\n"
        "from denseam.figures import RubbishGrid, grid, rubbish\n"
        "r = RubbishGrid(('a',), ('b',), torch.zeros(1, 1, 2, 2), torch.ones(1, 1).bool())\n"
        f"for s in ('png', 'svg', 'pdf'): rubbish.save(r, {str(tmp_path)!r} + '/a.' + s)\n"
        f"grid.save_grid(torch.zeros(1, 2, 2), {str(tmp_path)!r} + '/b.png', captions=['c'])\n"
        "assert 'matplotlib.figure' in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )


def test_a_sheet_holds_every_image_in_order():
    images = torch.randint(0, 200, (5, 3, 4), dtype=torch.uint8)
    sheet = np.asarray(grid(images, columns=2, scale=2))
    high, wide = 3 * 2 + 2 * 4, 4 * 2 + 2 * 4  # an edge of 2 + scale on either side
    assert sheet.shape == (3 * high, 2 * wide, 3)
    for m in range(5):
        top, left = (m // 2) * high + 4, (m % 2) * wide + 4
        tile = sheet[top : top + 6, left : left + 8]
        assert np.array_equal(tile[::2, ::2, 0], images[m].numpy())
        assert np.array_equal(tile[1::2, 1::2, 2], images[m].numpy())
    assert (sheet[2 * high :, wide:] == 255).all()  # no sixth
    assert int((sheet != 255).sum()) == images.numel() * 4 * 3


def test_visible_images_give_the_bytes_they_came_from():
    images = torch.arange(256, dtype=torch.uint8).reshape(4, 8, 8)
    v = (images.float() / 127.5 - 1).requires_grad_()
    assert np.array_equal(np.asarray(grid(v)), np.asarray(grid(images)))
    assert grid(images).size == (2 * 14, 2 * 14)
    assert grid(images, columns=9).size == (4 * 14, 14)


def test_marked_images_have_a_frame_around_them():
    marked = torch.tensor([False, True])
    images = torch.zeros(2, 4, 4)
    sheet = np.asarray(grid(images, columns=2, scale=2, marked=marked)).astype(int)
    plain, framed = np.split(sheet, 2, axis=1)
    frames = [(cell == (213, 94, 0)).all(axis=2) for cell in (plain, framed)]
    assert not frames[0].any()
    assert frames[1][1, 1:-1].all()
    assert not frames[1][0].any()
    assert np.array_equal(plain[4:12, 4:12], framed[4:12, 4:12])  # the image itself is untouched
    # Without colour it is neither the black of images nor the white of the sheet.
    assert 80 < Image.new("RGB", (1, 1), (213, 94, 0)).convert("L").getpixel((0, 0)) < 175


def test_captions_stand_under_their_images_and_are_cut():
    images = torch.zeros(3, 20, 20)
    sheet = np.asarray(grid(images, columns=3, captions=["", "5 → 3", "far too long a text"]))
    bare = np.asarray(grid(images, columns=3))
    assert np.array_equal(sheet[: len(bare)], bare)
    under = np.split(sheet[len(bare) :], 3, axis=1)
    assert [bool((part < 128).any()) for part in under] == [False, True, True]


def test_a_saved_sheet_is_the_same_picture_every_time(tmp_path):
    images = torch.rand(3, 4, 4)
    for name in ("a.png", "b.png"):
        save_grid(images, tmp_path / name, captions="xyz", marked=torch.ones(3).bool())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        wanted = grid(images, captions="xyz", scale=2, marked=torch.ones(3).bool())
        assert np.array_equal(np.asarray(image), np.asarray(wanted))


BAD_SHEETS = {
    "no image": (torch.zeros(0, 2, 2), {}, "empty"),
    "columns": (torch.zeros(1, 2, 2), {"columns": 0}, "columns = 0: wanted a whole number >= 1"),
    "scale": (torch.zeros(1, 2, 2), {"scale": 0}, "scale = 0"),
    "captions": (torch.zeros(1, 2, 2), {"captions": ["a", "b"]}, "1 images need 1 captions, got 2"),
    "marked": (torch.zeros(2, 2, 2), {"marked": torch.ones(1).bool()}, r"shape \(2\)"),
}


@pytest.mark.parametrize("case", BAD_SHEETS)
def test_sheets_are_refused(case, tmp_path):
    images, options, message = BAD_SHEETS[case]
    with pytest.raises(InputError, match=message):
        save_grid(images, tmp_path / "a.png", **options)


def test_a_sheet_is_a_png(tmp_path):
    with pytest.raises(InputError, match=r"a.svg: a contact sheet is a .png file, got '.svg'"):
        save_grid(torch.zeros(1, 2, 2), tmp_path / "a.svg")
    with pytest.raises(SaveError, match="nowhere"):
        save_grid(torch.zeros(1, 2, 2), tmp_path / "nowhere" / "a.png")


FORMULA = "a$_{$b"  # no name of anything, but no formula either


@pytest.mark.parametrize(
    ("figure", "record"),
    [
        (boundary, [some_trace(name=FORMULA, labels=(FORMULA, "b", "c"))]),
        (confidence, some_confidences(names=(FORMULA, "n = 30"))),
        (memories, some_memories(names=(FORMULA, "n = 3", "n = 30"))),
        (rubbish, some_grid(rows=(FORMULA, "n = 30"), columns=("a", FORMULA, "c"))),
        (sign, some_curves(names=(FORMULA, "n = 30"))),
        (votes, some_votes(names=(FORMULA, "n = 30"))),
    ],
)
def test_a_name_with_dollars_is_no_formula(figure, record, tmp_path):
    figure.save(record, tmp_path / "f.svg")
    assert (tmp_path / "f.svg").stat().st_size > 1000

import io
import resource
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.fuzz_pictures import fuzz

from denseam.data import pictures
from denseam.data.pictures import pages
from denseam.errors import DataUnavailableError, FileFormatError, InputError

TURN = Image.Transpose
# How to store a picture so that its orientation tag brings it back.
STORED = {
    1: None, 2: TURN.FLIP_LEFT_RIGHT, 3: TURN.ROTATE_180, 4: TURN.FLIP_TOP_BOTTOM,
    5: TURN.TRANSPOSE, 6: TURN.ROTATE_90, 7: TURN.TRANSVERSE, 8: TURN.ROTATE_270,
}  # fmt: skip
GREY_MODES = [
    "L", "I", "F", "P", "RGB", "RGBX", "RGBA", "CMYK", "YCbCr", "HSV", "RGBa", "LA", "La", "PA",
    "I;16", "I;16L", "I;16B", "I;16N",
]  # fmt: skip


@pytest.fixture
def levels():
    return np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)


def stored(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def only(*arguments, **options):
    (page,) = pages(*arguments, **options)
    return page


def as_bytes(page):
    return (page * 255).round().to(torch.uint8) if page.is_floating_point() else page


def converted(levels, mode):
    """Return a grey picture in a mode of Pillow."""
    picture = Image.fromarray(levels)
    if mode.startswith("I;16"):
        deep = levels.astype(">u2" if mode == "I;16B" else "<u2") * 257
        return Image.frombytes(mode, picture.size, deep.tobytes())
    steps = {"La": ["LA", "La"], "RGBa": ["RGBA", "RGBa"], "HSV": ["RGB", "HSV"]}
    for step in steps.get(mode, [mode]):
        picture = picture.convert(step)
    return picture


def tiff(data, bits, sample, photometric=1, **tags):
    """Return a TIFF file of one row, without compression."""
    width = len(data) * 8 // bits
    entries = [
        (256, width), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1),
        (278, 1), (279, len(data)), *((int(tag[1:]), value) for tag, value in tags.items()),
        (339, sample),
    ]  # fmt: skip
    padded = data + b"\0" * (len(data) % 2)
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries))
    header = b"II*\0" + struct.pack("<I", 8 + len(padded))
    return header + padded + struct.pack("<H", len(entries)) + body + b"\0\0\0\0"


# ---- orientation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", STORED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_pictures_are_turned_as_their_tag_says(levels, kind, tag):
    large = np.kron(levels, np.ones((8, 8), np.uint8))  # JPEG keeps blocks
    picture, exif = Image.fromarray(large), Image.Exif()
    if STORED[tag] is not None:
        picture = picture.transpose(STORED[tag])
    exif[0x0112] = tag
    options = {"JPEG": {"quality": 100}, "WEBP": {"lossless": True}}.get(kind, {})
    page = only(stored(picture, kind, exif=exif, **options))
    assert page.shape == large.shape
    assert np.abs(page.numpy().astype(int) - large).max() <= (2 if kind == "JPEG" else 0)


@pytest.mark.parametrize("mode", ["F", "I;16", "P", "LA", "RGB", "1"])
def test_every_mode_is_turned(levels, mode):
    picture = converted(levels, mode) if mode != "1" else Image.fromarray(levels > 99)
    expected = only(picture)
    picture.getexif()[0x0112] = 6
    assert torch.equal(only(picture), expected.rot90(-1))


@pytest.mark.parametrize("tag", [0, 9, 60000])
def test_orientations_that_make_no_sense_are_ignored(levels, tag):
    exif = Image.Exif()
    exif[0x0112] = tag
    assert np.array_equal(only(stored(Image.fromarray(levels), "PNG", exif=exif)), levels)


def test_tags_that_are_damaged_do_not_cost_the_picture(levels):
    data = stored(Image.fromarray(levels), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff")
    assert np.array_equal(only(data), levels)


# ---- modes and depth -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", GREY_MODES)
def test_grey_is_grey_in_every_mode(levels, mode):
    page = only(converted(levels, mode))
    assert page.dtype == (torch.float32 if mode[0] in "IF" else torch.uint8)
    assert np.array_equal(as_bytes(page), levels)


def test_two_levels(levels):
    picture = Image.fromarray(levels > 127)
    assert np.array_equal(only(picture), np.where(levels > 127, 255, 0))
    inverted = only(stored(picture, "TIFF", tiffinfo={262: 0}))
    assert np.array_equal(inverted, only(picture))


@pytest.mark.parametrize("mode", ["RGB", "P", "CMYK", "YCbCr", "LAB", "HSV", "RGBA"])
def test_colours(mode):
    colours = np.array([[[250, 10, 10], [10, 240, 20]], [[20, 20, 230], [128, 128, 128]]], np.uint8)
    picture = Image.fromarray(colours)
    picture = picture.quantize(4) if mode == "P" else picture.convert(mode)
    page = only(picture)
    assert page.shape == (3, 2, 2)
    most = 30 if mode == "LAB" else 4  # sRGB has colours that are rounded away in Lab
    assert np.abs(page.numpy().transpose(1, 2, 0).astype(int) - colours).max() <= most
    colours = page.numpy().transpose(1, 2, 0)
    grey = only(picture, colour=False)
    assert np.abs(grey.numpy() - colours @ [0.299, 0.587, 0.114]).max() < 1


def test_grey_pictures_get_three_channels_where_asked(levels):
    page = only(Image.fromarray(levels), colour=True)
    assert np.array_equal(page, [levels] * 3)


def test_sixteen_bits_keep_their_depth():
    values = np.array([[0, 1, 257, 40000, 65535]], np.uint16)
    expected = torch.from_numpy(values.astype(np.float64) / 65535).float()
    pgm = b"P5 5 1 65535\n" + values.astype(">u2").tobytes()
    files = [stored(Image.fromarray(values), kind) for kind in ("PNG", "TIFF")]
    for data in (pgm, *files):
        assert torch.equal(only(data), expected)
    dark = b"P5 3 1 65535\n" + np.array([0, 3, 200], ">u2").tobytes()  # stays dark
    assert float(only(dark).max()) == pytest.approx(200 / 65535)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0.5, 0.75], [0, 0.5, 0.75]),
        ([0, 51, 204], [0, 0.2, 0.8]),
        ([0, 13107, 65535], [0, 0.2, 1]),
        ([0, 1e6, 4e6], [0, 0.25, 1]),
        ([0, 0.75, 3], [0, 0.25, 1]),
        ([-1, 0, 1], [0, 0.5, 1]),
        ([0, 0, 0], [0, 0, 0]),
        ([-7, -7, -7], [0, 0, 0]),
    ],
)
def test_numbers_without_a_scale_get_the_one_that_holds_them(values, expected):
    whole = not any(value % 1 for value in values)
    for dtype in (np.float32, np.int32) if whole else (np.float32,):
        data = stored(Image.fromarray(np.array([values], dtype)), "TIFF")
        np.testing.assert_allclose(only(data), [expected], atol=1e-7)


def test_the_scale_that_a_tiff_file_names_is_used():
    twelve = np.array([0, 1000, 4000], "<u2").tobytes()
    assert float(only(tiff(twelve, 16, 1)).max()) == pytest.approx(4000 / 65535)
    assert float(only(tiff(twelve, 16, 1, t281=4000)).max()) == 1
    assert float(only(tiff(twelve, 16, 1, t281=7)).max()) == pytest.approx(4000 / 65535)  # no scale


def test_white_may_be_zero():
    values = np.array([0, 13107, 65535], "<u2").tobytes()
    np.testing.assert_allclose(only(tiff(values, 16, 1, photometric=0)), [[1, 0.8, 0]], atol=1e-6)


def test_unsigned_integers_of_32_bits():
    values = np.array([0, 2**31, 2**32 - 1], "<u4").tobytes()
    np.testing.assert_allclose(only(tiff(values, 32, 1)), [[0, 0.5, 1]], atol=1e-6)


def test_kinds_of_pixels_that_are_not_read_are_named():
    with pytest.raises(FileFormatError, match="kind of pixels is not read"):
        only(tiff(np.array([0.0, 1.0]).tobytes(), 64, 3), name="doubles.tif")
    with pytest.raises(FileFormatError, match=r"nan\.tif holds NaN or infinite pixels"):
        only(tiff(np.array([0, np.nan], "<f4").tobytes(), 32, 3), name="nan.tif")


# ---- transparency --------------------------------------------------------------------------------


def test_paper_is_what_ink_is_not(levels):
    for ink, paper in ((0, 255), (255, 0)):
        picture = Image.new("LA", (7, 5), (ink, 0))
        picture.putalpha(Image.fromarray(levels))
        expected = levels if ink else 255 - levels
        assert np.array_equal(only(stored(picture, "PNG")), expected)
        blank = Image.new("RGBA", (7, 5), (ink, ink, ink, 0))
        blank.putpixel((3, 2), (ink, ink, ink, 255))
        page = only(blank)
        assert int(page[2, 3]) == ink
        assert int(page[0, 0]) == paper


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "I;16", "1"])
def test_one_level_may_be_transparent(mode):
    values = np.full((4, 4), 255, np.uint8)
    values[1:3, 1:3] = 0  # light pixels around it are transparent
    picture = Image.fromarray(values).convert("1" if mode == "1" else "L")
    if mode == "I;16":
        picture = converted(values, mode)
    elif mode not in ("1", "L"):
        picture = picture.convert(mode)
    clear = {"P": picture.getpixel((0, 0)), "RGB": (255, 255, 255), "I;16": 65535}.get(mode, 255)
    page = as_bytes(only(stored(picture, "PNG", transparency=clear)))
    assert np.array_equal(page, values)  # dark ink on white paper
    clear = {"P": picture.getpixel((1, 1)), "RGB": (0, 0, 0)}.get(mode, 0)
    page = as_bytes(only(stored(picture, "PNG", transparency=clear)))
    assert np.array_equal(page, values)  # light ink around it, on black paper


def test_a_picture_with_transparent_corners_goes_on_as_it_is():
    values = np.zeros((28, 28), np.uint8)
    values[8:20, 10:18] = 255
    picture = Image.fromarray(values).convert("LA")
    alpha = np.full((28, 28), 255, np.uint8)
    alpha[:3, :3] = 0
    picture.putalpha(Image.fromarray(alpha))
    assert np.array_equal(only(picture), values)


def test_nothing_but_transparency_is_paper():
    assert bool((only(Image.new("RGBA", (3, 2))) == 255).all())


# ---- pages, sources ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "PNG"])
def test_all_pages_are_read(kind):
    frames = [Image.new("L", (6, 4), level) for level in (0, 100, 255)]
    options = {"WEBP": {"lossless": True}}.get(kind, {})
    data = stored(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert [int(page[0, 0]) for page in pages(data)] == [0, 100, 255]


def test_pages_have_their_own_orientation(levels):
    frames = []
    for tag in (1, 6):
        frame, exif = Image.fromarray(levels), Image.Exif()
        exif[0x0112] = tag
        frame.encoderinfo = {"exif": exif}
        frames.append(frame)
    data = stored(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    first, second = pages(data)
    assert np.array_equal(first, levels)
    assert np.array_equal(second, np.rot90(levels, -1))


def test_thumbnails_and_second_eyes_are_no_pages(levels):
    small = Image.fromarray(levels[:2])
    small.encoderinfo = {"tiffinfo": {254: 1}}
    picture = Image.fromarray(levels)
    data = stored(picture, "TIFF", save_all=True, append_images=[small])
    assert np.array_equal(only(data), levels)
    data = stored(picture, "MPO", save_all=True, append_images=[Image.new("L", (7, 5))])
    assert only(data).shape == levels.shape


def test_sources(tmp_path, levels):
    path = tmp_path / "a.png"
    Image.fromarray(levels).save(path)
    data = path.read_bytes()
    with path.open("rb") as file, Image.open(path) as picture:
        for source in (path, str(path), data, bytearray(data), io.BytesIO(data), file, picture):
            assert np.array_equal(only(source), levels)
    with pytest.raises(InputError, match="picture is a int"):
        only(7)


def test_files_that_cannot_be_read_are_named(tmp_path, levels):
    with pytest.raises(DataUnavailableError, match=r"there is no file .*none\.png"):
        only(tmp_path / "none.png")
    with pytest.raises(FileFormatError, match="cannot be read: Is a directory"):
        only(tmp_path)
    for name, data in {"text.png": b"no picture", "empty.png": b""}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FileFormatError, match=f"{name} is not a whole picture"):
            only(tmp_path / name)
    large = np.random.default_rng(0).integers(0, 256, (90, 90), dtype=np.uint8)
    for kind in ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM"):
        data = stored(Image.fromarray(large), kind)
        with pytest.raises(FileFormatError, match="scan is not a whole picture"):
            only(data[: len(data) // 2], name="scan")


def test_too_many_pixels_are_refused(levels, monkeypatch):
    for size, message in ((9000, "9000 x 9000 pixels are too many"), (40000, "too many pixels")):
        with pytest.raises(InputError, match=message):
            only(b"P5 %d %d 255\n" % (size, size))
    monkeypatch.setattr(pictures, "_PAGES", 2.5)
    frames = [Image.new("L", (6, 4), level) for level in (0, 100, 255)]
    with pytest.raises(InputError, match="3 pages have too many pixels"):
        list(
            pages(
                stored(frames[0], "TIFF", save_all=True, append_images=frames[1:]), most_pixels=24
            )
        )


# ---- damage --------------------------------------------------------------------------------------


def test_damaged_pictures_are_read_or_refused():
    outcomes = fuzz(350)
    assert sum(outcomes.values()) == 350
    assert set(outcomes) <= {"read", "FileFormatError", "InputError"}
    assert 50 < outcomes["read"] < 300


@pytest.mark.slow
def test_many_damaged_pictures_leave_no_memory_behind():
    fuzz(1000, seed=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fuzz(9000, seed=2)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 400 * 1024  # kB: one large page at most

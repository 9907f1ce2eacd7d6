"""Putting image sets together from what people have, and reading them back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from denseam.data import Dataset, ImageSet
from denseam.errors import DenseAMWarning, InputError

LABELS = [0, 1, 1, 0]


def small(**options: object) -> ImageSet:
    images = torch.arange(4 * 6, dtype=torch.uint8).reshape(4, 2, 3) * 10
    return ImageSet.from_arrays(images, LABELS, **options)  # type: ignore[arg-type]


def test_properties() -> None:
    made = small(name="s", class_names=("no", "yes"), metadata={"k": 1})
    assert (len(made), made.shape, made.n_visible, made.n_classes) == (4, (2, 3), 6, 2)
    assert made.class_counts().tolist() == [2, 2]
    assert made.class_names == ("no", "yes")
    assert made.metadata == {"k": 1}
    assert repr(made) == "ImageSet('s', 4x2x3 uint8, 2 classes)"
    assert small().class_names == ("0", "1")


def test_visible_maps_0_and_255_to_the_ends() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    v = ImageSet(images, torch.tensor([0]), 1).visible(torch.float64)
    assert v.shape == (1, 256)
    assert v[0, 0] == -1
    assert v[0, 255] == 1
    assert torch.allclose(v[0].diff(), torch.full((255,), 2 / 255, dtype=torch.float64))
    assert ImageSet(images, torch.tensor([0]), 1).visible().dtype == torch.float32
    with pytest.raises(InputError, match="floating"):
        small().visible(torch.int64)


def test_visible_does_not_share_memory_with_the_set() -> None:
    made = ImageSet(torch.zeros(2, 2, 2), torch.tensor([0, 0]), 1)
    made.visible().fill_(1)
    assert made.images.sum() == 0


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)),
    st.sampled_from(["numpy", "torch", "channel", "flat", "byte floats", "int64", "big-endian"]),
)
def test_every_form_of_bytes_gives_the_same_set(images: np.ndarray, form: str) -> None:
    count, height, width = images.shape
    labels = np.zeros(count, np.int32)
    given_images: object = {
        "numpy": images,
        "torch": torch.from_numpy(images.copy()),
        "channel": images[:, None],
        "flat": images.reshape(count, -1),
        "byte floats": images.astype(np.float32),
        "int64": images.astype(np.int64),
        "big-endian": images.astype(">f8"),
    }[form]
    made = ImageSet.from_arrays(given_images, labels, shape=(height, width), scale="byte")
    assert made.images.dtype == torch.uint8
    assert np.array_equal(made.images.numpy(), images)
    assert made.digest() == ImageSet.from_arrays(images, labels).digest()


def test_flat_images_become_a_square_or_a_row() -> None:
    labels = [0, 0]
    assert ImageSet.from_arrays(np.zeros((2, 9), np.uint8), labels).shape == (3, 3)
    assert ImageSet.from_arrays(np.zeros((2, 8), np.uint8), labels).shape == (1, 8)
    with pytest.raises(InputError, match="does not fit 8"):
        ImageSet.from_arrays(np.zeros((2, 8), np.uint8), labels, shape=(3, 3))


def test_scales() -> None:
    unit = np.array([[[0.0, 0.5], [0.75, 1.0]]])
    made = ImageSet.from_arrays(unit, [0], scale="unit")
    assert made.images.flatten().tolist() == [-1.0, 0.0, 0.5, 1.0]
    made = ImageSet.from_arrays(unit * 255, [0], scale="byte")
    assert torch.allclose(made.images.flatten(), torch.tensor([-1, 0, 0.5, 1]).double())
    assert ImageSet.from_arrays(unit, [0], scale="visible").images.max() == 1
    half = torch.tensor([[[-0.5, 0.25]]], dtype=torch.float16)
    assert ImageSet.from_arrays(half, [0]).images.dtype == torch.float32


def test_unit_images_taken_for_visible_ones_are_warned_about() -> None:
    with pytest.warns(DenseAMWarning, match="scale='unit'"):
        ImageSet.from_arrays(np.array([[[0.0, 0.5]]]), [0])


ONE = np.zeros((1, 2, 2))
REFUSED = {
    "bytes unsaid": (ONE + [[0.0, 255.0]] * 2, [0], {}, "scale='byte'"),
    "bytes said unit": (ONE + [[0.0, 255.0]] * 2, [0], {"scale": "unit"}, "scale='byte'"),
    "past bytes": (ONE + 256, [0], {"scale": "byte"}, r"0\.\.255, got 256"),
    "nan": (ONE + np.nan, [0], {"scale": "unit"}, "NaN or infinite"),
    "nan visible": (ONE - np.nan, [0], {}, "NaN"),
    "unknown scale": (ONE, [0], {"scale": "pixels"}, "visible, unit, byte"),
    "uint8 as unit": (ONE.astype(np.uint8), [0], {"scale": "unit"}, "uint8"),
    "int64 unsaid": (ONE.astype(np.int64), [0], {}, "uint8 or floating"),
    "bool": (ONE.astype(bool), [0], {"scale": "byte"}, "uint8 or floating"),
    "complex": (ONE.astype(complex), [0], {"scale": "byte"}, "uint8 or floating"),
    "strings": (np.array([["a"]]), [0], {}, "array of numbers"),
    "objects": (np.array([[object()]]), [0], {}, "array of numbers"),
    "colour": (np.zeros((1, 3, 2, 2)), [0], {}, r"got \(1, 3, 2, 2\)"),
    "one axis": (np.zeros(4), [0], {}, r"got \(4,\)"),
    "other shape": (ONE, [0], {"shape": (4, 1)}, "must be 4 x 1"),
    "empty": (np.zeros((0, 2, 2), np.uint8), np.zeros(0, int), {}, "empty"),
    "too few labels": (ONE.repeat(2, 0) - 1, [0], {}, r"shape \(2,\), got \(1,\)"),
    "float labels": (ONE - 1, [0.0], {}, "must be integers"),
    "labels with axes": (ONE - 1, [[0]], {}, r"shape \(M,\)"),
    "negative label": (ONE - 1, [-1], {}, "got -1"),
    "label past classes": (ONE - 1, [3], {"n_classes": 3}, r"0\.\.2, got 3"),
    "class missing": (ONE - 1, [1], {}, "no example of class 0"),
    "names": (ONE - 1, [0], {"n_classes": 1, "class_names": ("a", "b")}, "need 1 names"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_arrays_are_refused(case: str) -> None:
    images, labels, options, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        ImageSet.from_arrays(images, labels, **options)  # type: ignore[arg-type]


def test_subset() -> None:
    made = small(class_names=("no", "yes"))
    assert made.subset([2, 0]).labels.tolist() == [1, 0]
    assert made.subset(made.labels == 1).images.equal(made.images[1:3])
    assert len(made.subset(slice(3))) == 3
    assert made.subset([0]).n_classes == 2
    with pytest.raises(InputError, match="empty"):
        made.subset([])
    with pytest.raises(InputError, match="empty"):
        made.subset(made.labels > 5)
    with pytest.raises(InputError, match="subset of 4 images"):
        made.subset([4])


def test_digest_tells_data_apart() -> None:
    made = small()
    pixels, labels = made.images.clone(), made.labels.clone()
    pixels[0, 0, 0] += 1
    labels[0] = 1
    others = [
        ImageSet(pixels, made.labels, 2),
        ImageSet(made.images, labels, 2),
        ImageSet(made.images.reshape(4, 3, 2), made.labels, 2),
        ImageSet(made.visible().reshape(4, 2, 3), made.labels, 2),
    ]
    digests = {made.digest(), *(other.digest() for other in others)}
    assert len(digests) == 5
    assert made.digest() == small(name="other name").digest()
    assert len(made.digest()) == 64


def test_train_and_test_must_go_together() -> None:
    made = small()
    assert Dataset("d", made, made).train is made
    with pytest.raises(InputError, match="n_classes differs"):
        Dataset("d", made, small(n_classes=3))

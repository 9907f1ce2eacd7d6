"""Putting image sets together from what people have, and reading them back."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

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


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_visible_is_the_same_to_the_bit_on_a_card(dtype: torch.dtype) -> None:
    made = small()
    there = made.visible(dtype, "meta")
    assert (there.device.type, there.dtype, there.shape) == ("meta", dtype, (4, 6))
    assert torch.equal(made.visible(dtype, "cpu"), made.visible(dtype))
    if torch.cuda.is_available():
        assert torch.equal(made.visible(dtype, "cuda").cpu(), made.visible(dtype))


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
    "unknown scale": (
        ONE,
        [0],
        {"scale": "pixels"},
        "scale = 'pixels': wanted 'visible', 'unit' or 'byte'",
    ),
    "uint8 as unit": (ONE.astype(np.uint8), [0], {"scale": "unit"}, "uint8"),
    "int64 unsaid": (ONE.astype(np.int64), [0], {}, "uint8 or floating"),
    "bool": (ONE.astype(bool), [0], {"scale": "byte"}, "uint8 or floating"),
    "complex": (ONE.astype(complex), [0], {"scale": "byte"}, "uint8 or floating"),
    "strings": (np.array([["a"]]), [0], {}, "array of numbers"),
    "objects": (np.array([[object()]]), [0], {}, "array of numbers"),
    "four channels": (np.zeros((1, 2, 2, 4)), [0], {}, r"got \(1, 2, 2, 4\); drop the fourth"),
    "one axis": (np.zeros(4), [0], {}, r"got \(4,\)"),
    "other shape": (ONE, [0], {"shape": (4, 1)}, "must be 4 x 1"),
    "empty": (np.zeros((0, 2, 2), np.uint8), np.zeros(0, int), {}, "empty"),
    "too few labels": (ONE.repeat(2, 0) - 1, [0], {}, r"shape \(2,\), got \(1,\)"),
    "float labels": (ONE - 1, [0.0], {}, "must be integers"),
    "labels with axes": (ONE - 1, [[0]], {}, r"shape \(M,\)"),
    "negative label": (ONE - 1, [-1], {}, "got -1"),
    "label past classes": (ONE - 1, [3], {"n_classes": 3}, r"0\.\.2, got 3"),
    "class missing": (ONE - 1, [1], {}, "no example of class 0"),
    "wild label": (ONE - 1, [2**62], {}, r"0, 1, .*9, \.\.\. \(of 4611686018427387905 classes"),
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


# ---- facts -----------------------------------------------------------------------------------

FACTS = {
    "target": torch.tensor([1, 0, 0, 1]),
    "success": torch.tensor([True, False, True, True]),
    "l2": torch.tensor([0.5, torch.nan, 1.5, 2.5], dtype=torch.float64),
    "boundary": torch.arange(24.0).reshape(4, 2, 3),
    "nothing": torch.zeros(4, 0, dtype=torch.int8),
}


def same_facts(a: ImageSet, b: Mapping[str, torch.Tensor]) -> bool:
    return list(a.facts) == list(b) and all(
        value.dtype is b[name].dtype and torch.allclose(value, b[name], 0, 0, equal_nan=True)
        for name, value in a.facts.items()
    )


def test_facts() -> None:
    assert small().facts == {}
    given_facts = dict(FACTS)
    with_facts = ImageSet(small().images, small().labels, 2, facts=given_facts)
    assert same_facts(with_facts, FACTS)
    given_facts["bad"] = torch.zeros(3)
    assert "bad" not in with_facts.facts
    assert with_facts.digest() == small().digest()


def test_facts_from_arrays() -> None:
    assert same_facts(small(facts=FACTS), FACTS)
    arrays = {name: value.numpy() for name, value in FACTS.items()}
    assert same_facts(small(facts=arrays), FACTS)
    assert small(facts={"steps": [3, 1, 4, 1]}).facts["steps"].dtype is torch.int64
    with pytest.raises(InputError, match="fact 'x' must be an array of numbers"):
        small(facts={"x": ["a"] * 4})
    with pytest.raises(InputError, match="facts must map names to tensors, got list"):
        small(facts=[])


BAD_FACTS = {
    "list": ([], "must map names to tensors, got list"),
    "empty name": ({"": torch.zeros(4)}, "non-empty string, got ''"),
    "number": ({3: torch.zeros(4)}, "non-empty string, got 3"),
    "slash": ({"a/b": torch.zeros(4)}, "no NUL, '/' or surrogate, got 'a/b'"),
    "nul": ({"a\0": torch.zeros(4)}, "no NUL, '/' or surrogate"),
    "surrogate": ({"\ud800": torch.zeros(4)}, "no NUL, '/' or surrogate"),
    "images": ({"images": torch.zeros(4)}, "no fact may be called 'images'"),
    "labels": ({"labels": torch.zeros(4)}, "no fact may be called 'labels'"),
    "array": ({"x": np.zeros(4)}, "fact 'x' must be a torch.Tensor, got ndarray"),
    "complex": ({"x": torch.zeros(4, dtype=torch.complex64)}, "bool, integer or floating, got"),
    "sparse": ({"x": torch.zeros(4).to_sparse()}, "must be dense .*sparse_coo"),
    "scalar": ({"x": torch.tensor(3)}, r"fact 'x' must have shape \(4,\) or .*, got \(\)"),
    "short": ({"x": torch.zeros(3)}, r"must have shape \(4,\) or \(4, \.\.\.\), got \(3,\)"),
    "turned": ({"x": torch.zeros(2, 4)}, r"must have shape .*, got \(2, 4\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_FACTS)
def test_facts_are_refused(case: str) -> None:
    facts, message = BAD_FACTS[case]
    with pytest.raises(InputError, match=message):
        ImageSet(small().images, small().labels, 2, facts=facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "rows", [[2, 0], torch.tensor([2, 0]), torch.tensor([True, False, True, False]), slice(1, 3)]
)
def test_subset_takes_the_facts_along(rows: Any) -> None:
    where = torch.tensor(rows) if isinstance(rows, list) else rows
    part = small(facts=FACTS, name="s", metadata={"k": 1}).subset(rows)
    assert same_facts(part, {name: value[where] for name, value in FACTS.items()})
    assert (part.name, part.metadata) == ("s", {"k": 1})


def test_concatenate_undoes_cutting_up() -> None:
    whole = small(facts=FACTS, name="s", class_names=("no", "yes"), metadata={"k": 1})
    parts = [whole.subset([0]), whole.subset([1]), whole.subset([2, 3])]
    backwards = dict(reversed([*parts[1].facts.items()]))
    parts[1] = replace(parts[1], name="other", metadata={}, facts=backwards)
    joined = ImageSet.concatenate(parts)
    assert joined.digest() == whole.digest()
    assert same_facts(joined, FACTS)
    assert (joined.name, joined.metadata, joined.class_names) == ("s", {"k": 1}, ("no", "yes"))
    assert ImageSet.concatenate([whole]).digest() == whole.digest()


ODD_PARTS: dict[str, tuple[Callable[[ImageSet], ImageSet], str]] = {
    "shape": (lambda s: ImageSet(s.images.mT, s.labels, 2), r"shape is \(2, 3\) .* \(3, 2\)"),
    "dtype": (
        lambda s: ImageSet(s.visible().reshape(4, 2, 3), s.labels, 2),
        "dtype is torch.uint8 in part 0 .* and torch.float32 in part 2",
    ),
    "n_classes": (lambda s: ImageSet(s.images, s.labels, 3), "n_classes is 2 .* and 3"),
    "class_names": (lambda s: replace(s, class_names=("a", "b")), "class_names is .* and .*'b'"),
    "fact gone": (
        lambda s: replace(s, facts={}),
        r"fact 'x' is int64 \(M,\) .* and absent in part",
    ),
    "fact new": (
        lambda s: replace(s, facts={**s.facts, "y": s.images}),
        r"fact 'y' is absent .* and uint8 \(M, 2, 3\) in part 2 \('odd'\)",
    ),
    "fact dtype": (
        lambda s: replace(s, facts={"x": s.labels.int()}),
        r"fact 'x' is int64 \(M,\) .* and int32 \(M,\)",
    ),
    "fact shape": (
        lambda s: replace(s, facts={"x": s.labels[:, None]}),
        r"fact 'x' is int64 \(M,\) .* and int64 \(M, 1\)",
    ),
}


@pytest.mark.parametrize("case", ODD_PARTS)
def test_concatenate_refuses_sets_that_differ(case: str) -> None:
    change, message = ODD_PARTS[case]
    one = small(facts={"x": torch.arange(4)})
    with pytest.raises(InputError, match=f"must be alike: {message}"):
        ImageSet.concatenate([one, one, replace(change(one), name="odd")])
    with pytest.raises(InputError, match="nothing to concatenate"):
        ImageSet.concatenate([])


def test_hold_out_takes_the_last_training_images_and_leaves_the_test_images_alone() -> None:
    train, test = small(), small(name="test")
    found = Dataset("pair", train, test).hold_out(1)
    assert found.name == "pair without the last 1"
    assert torch.equal(found.train.images, train.images[:-1])
    assert torch.equal(found.test.images, train.images[-1:])
    assert torch.equal(found.test.labels, train.labels[-1:])


@pytest.mark.parametrize("count", [0, -1, 4, 5, 1.5, True])
def test_hold_out_leaves_something_on_either_side(count: object) -> None:
    with pytest.raises(InputError, match=f"count = {count!r}: .* >= 1 and <= 3"):
        Dataset("pair", small(), small()).hold_out(count)


MASK = [True, False, False, True]


@pytest.mark.parametrize(
    "mask",
    [torch.tensor(MASK), np.array(MASK), MASK, tuple(MASK), [*map(np.bool_, MASK)]],
    ids=type,
)
def test_masks_of_every_type_select_the_same_images(mask: Any) -> None:
    made = small(facts=FACTS)
    part = made.subset(mask)
    assert part.images.equal(made.images[[0, 3]])
    assert part.labels.equal(made.labels[[0, 3]])
    assert same_facts(part, {name: value[[0, 3]] for name, value in FACTS.items()})


@pytest.mark.parametrize(
    "rows",
    [
        np.array([2, 0]), np.array([2, 0], np.uint8), torch.tensor([2, 0], dtype=torch.uint8),
        range(2, -1, -2), slice(2, None, -2), [np.int64(2), 0], (2, -4),
        pytest.param(iter([2, 0]), id="iterator"),
    ],
    ids=str,
)  # fmt: skip
def test_indices_of_every_kind(rows: Any) -> None:
    made = small(facts=FACTS)
    part = made.subset(rows)
    assert part.images.equal(made.images[[2, 0]])
    assert same_facts(part, {name: value[[2, 0]] for name, value in FACTS.items()})


@pytest.mark.parametrize(
    "rows",
    [
        [0.9, 2.7], np.array([1.0]), torch.tensor([1.0, 2.0]), 3, None, "12", slice(0.5),
        slice(None, None, 0), [True, False], torch.zeros(4, 2, dtype=torch.bool), [[0], [1]],
        torch.tensor(2), [1 + 0j], [2**70],
    ],
    ids=str,
)  # fmt: skip
def test_other_indices_are_refused(rows: Any) -> None:
    with pytest.raises(InputError, match=r"^subset of 4 images: .*"):
        small().subset(rows)


@pytest.mark.parametrize("n_classes", [2.0, "2", None, True, 0, -1])
def test_other_numbers_of_classes_are_refused(n_classes: Any) -> None:
    made = small()
    with pytest.raises(InputError, match="n_classes"):
        ImageSet(made.images, made.labels, n_classes)


@pytest.mark.parametrize("n_classes", [0, 2.5, "2"])
def test_arrays_with_other_numbers_of_classes_are_refused(n_classes: Any) -> None:
    with pytest.raises(InputError, match="n_classes"):
        ImageSet.from_arrays(small().images, small().labels, n_classes=n_classes)


def test_n_classes_may_be_a_number_of_numpy() -> None:
    made = ImageSet(small().images, small().labels, np.int64(2))  # type: ignore[arg-type]
    assert type(made.n_classes) is int

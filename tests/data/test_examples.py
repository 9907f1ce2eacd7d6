"""Sets of every kind: tables of features, pictures in colour, single examples, splits."""

from pathlib import Path

import numpy as np
import pytest
import torch

import denseam
import denseam.descent
from denseam import data
from denseam.data import Dataset, Example, FeatureSet, ImageSet
from denseam.data.imageset import only_pictures
from denseam.data.splits import split_rows, tail_is_fair
from denseam.errors import DenseAMError, FileFormatError, InputError

ROWS = torch.tensor([[1e6, -3.0], [2e6, 0.5], [3e6, 7.0]], dtype=torch.float64)


def rows(**options: object) -> FeatureSet:
    whole: dict[str, object] = {"class_names": ("no", "yes"), "name": "rows"}
    return FeatureSet(ROWS, torch.tensor([0, 1, 1]), 2, **{**whole, **options})  # type: ignore[arg-type]


def colours(**options: object) -> ImageSet:
    pixels = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).reshape(2, 3, 4, 5)
    return ImageSet(pixels, torch.tensor([0, 1]), 2, name="colours", **options)  # type: ignore[arg-type]


def test_features_of_any_range() -> None:
    one = rows(feature_names=("a", "b"))
    assert (len(one), one.input_shape, one.n_inputs) == (3, (2,), 2)
    assert one.inputs().dtype is torch.float32
    assert torch.equal(one.inputs(torch.float64), ROWS)
    one.inputs(torch.float64).fill_(0)
    assert one.features[0, 0] == 1e6  # a copy was filled
    assert repr(one) == "FeatureSet('rows', 3x2 float64, 2 classes)"
    with pytest.raises(InputError, match="floating, got dtype"):
        one.inputs(torch.int64)


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (torch.zeros(3), {}, r"\(M, D\), got \(3,\)"),
        (torch.zeros(3, 0), {}, r"\(M, D\), got \(3, 0\)"),
        (torch.zeros(0, 2), {}, "empty"),
        (ROWS.long(), {}, "float32 or float64"),
        (ROWS.numpy(), {}, "torch.Tensor"),
        (torch.tensor([[0.0, 1], [2, torch.nan], [0, 0]]), {}, "row 1, column 1 .* is nan; 1 such"),
        (ROWS, {"feature_names": ("a",)}, "2 features have 1 names"),
        (ROWS, {"feature_names": (1, 2)}, "must be strings"),
    ],
)
def test_features_are_refused(features: object, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FeatureSet(features, torch.tensor([0, 1, 1]), 2, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize(
    "examples", [rows(feature_names=("a", "b"), facts={"x": torch.ones(3)}), colours()], ids=str
)
def test_there_and_back(tmp_path: Path, suffix: str, examples: data.Examples) -> None:
    path = tmp_path / f"set{suffix}"
    examples.save(path)
    back = data.load(path)
    assert type(back) is type(examples)
    assert back.digest() == examples.digest()
    assert vars(back).keys() == vars(examples).keys()
    assert getattr(back, "feature_names", None) == getattr(examples, "feature_names", None)


def test_names_of_features_are_covered_by_the_sum(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    rows(feature_names=("a", "b")).save(path)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["denseam"] = np.array(str(arrays["denseam"]).replace('["a", "b"]', '["b", "a"]'))
    np.savez(path, **arrays)
    with pytest.raises(FileFormatError, match="not the one that was written"):
        data.load(path)


def test_colours() -> None:
    one = colours()
    assert (one.shape, one.input_shape, one.n_visible) == ((4, 5), (3, 4, 5), 60)
    assert torch.equal(one.visible(), one.inputs())
    last = one.images.movedim(1, 3)
    assert ImageSet.from_arrays(last, one.labels).digest() == one.digest()
    flat = ImageSet.from_arrays(last.reshape(2, -1), one.labels, shape=(4, 5, 3))
    assert flat.digest() == one.digest()
    with pytest.raises(InputError, match=r"\(M, 3, H, W\) or \(M, H, W\), got \(2, 2, 4, 5\)"):
        ImageSet(one.images[:, :2], one.labels, 2)


def test_one_example_and_slices() -> None:
    one = rows(facts={"x": torch.arange(3)})
    example = one[-1]
    assert isinstance(example, Example)
    assert (example.label, example.class_name, example.name) == (1, "yes", "rows[2]")
    assert torch.equal(example.features, ROWS[2])
    assert int(example.facts["x"]) == 2
    with pytest.raises(InputError, match="not a picture"):
        _ = example.image
    assert repr(colours()[np.int64(1)]) == "Example('colours[1]', 3x4x5 uint8 pixels, class '1')"
    assert len(one[1:]) == 2
    assert one[[0, 2]].labels.tolist() == [0, 1]
    assert one[one.labels == 1].labels.tolist() == [1, 1]
    assert [each.label for each in one] == [0, 1, 1]
    with pytest.raises(IndexError, match="3 examples, got index 3"):
        _ = one[3]
    with pytest.raises(InputError, match="index"):
        _ = one[-4]


@pytest.mark.parametrize("test", [0.2, 0.5, 7, 60])
def test_splits_give_each_class_its_share(test: float) -> None:
    labels = torch.tensor([0] * 50 + [1] * 10 + [2] * 3 + [3])
    train, held = split_rows(labels, 4, test, seed=1)
    assert sorted([*train.tolist(), *held.tolist()]) == list(range(64))
    count = test if test >= 1 else round(64 * test)
    assert len(held) == count
    drawn = torch.bincount(labels[held], minlength=4)
    assert 1 <= drawn[2] <= 3
    if count < 60:
        assert drawn[3] == 0  # the only one is trained on
        exact = count * torch.tensor([50, 10]) / 64
        assert (drawn[:2] - exact).abs().max() <= 1.5
    again = split_rows(labels, 4, test, seed=1)[1]
    assert torch.equal(again, held)
    assert not torch.equal(split_rows(labels, 4, test, seed=2)[1], held)


def test_split_is_a_data_set_that_says_so() -> None:
    split = rows().split(test=1)
    assert (len(split.train), len(split.test), split.test.name) == (2, 1, "rows test")
    assert split.test.metadata["split"] == {"of": "rows", "test": 1, "seed": 0}
    for test in (0, 3, 1.0, -0.5, True):
        with pytest.raises(InputError, match="test = "):
            rows().split(test=test)


def test_what_is_held_out_of_sorted_data_is_drawn() -> None:
    labels = torch.arange(300) // 30  # class by class
    images = ImageSet(torch.zeros(300, 2, 2), labels, 10, name="sorted")
    tuning = Dataset("sorted", images, images).hold_out(50)
    assert tuning.test.class_counts().tolist() == [5] * 10
    assert tuning.name == "sorted without 50 drawn by class"
    shuffled = images.subset(torch.randperm(300, generator=torch.Generator().manual_seed(0)))
    assert Dataset("mixed", shuffled, images).hold_out(50).name == "mixed without the last 50"


@pytest.mark.parametrize("spared", [0, 3])
def test_a_class_that_is_rare_at_the_end_is_drawn(spared: int) -> None:
    mixed = torch.randperm(2000, generator=torch.Generator().manual_seed(0)) % 10
    first = (mixed == 0).nonzero()[spared:, 0]
    order = torch.cat(
        [first, torch.tensor([i for i in range(2000) if i not in set(first.tolist())])]
    )
    assert tail_is_fair(mixed, 10, 800)
    assert not tail_is_fair(mixed[order], 10, 800)


@pytest.mark.parametrize("count", [1, 10, 300, 10_000])
def test_published_recipes_hold_out_the_tail_of_mnist(count: int) -> None:
    labels = data.load("mnist").train.labels
    assert tail_is_fair(labels, 10, count)
    assert not tail_is_fair(labels.sort().values, 10, count)


def test_what_needs_pictures_says_so() -> None:
    with pytest.raises(InputError, match="drawing works on pictures, an ImageSet: rows has rows"):
        only_pictures(rows(), "drawing")
    with pytest.raises(InputError, match="train is of type FeatureSet, test of type ImageSet"):
        Dataset("odd", rows(), colours())
    with pytest.raises(InputError, match="must be alike: kind is feature set in part 0"):
        FeatureSet.concatenate([rows(), colours()])  # type: ignore[list-item]


def test_sets_of_every_kind_are_trained_on_alike() -> None:
    dots, labels = torch.eye(12).repeat(20, 1), torch.arange(240) % 4
    recipe = denseam.Recipe.paper(3, epochs=3, n_memories=10, per_class=5, temperature=10.0)
    kinds = (
        FeatureSet(dots, labels, 4),
        ImageSet(dots.reshape(240, 3, 4), labels, 4),
        ImageSet(dots.reshape(240, 3, 2, 2), labels, 4),
    )
    memories = []
    for examples in kinds:
        split = examples.split(test=0.5)
        result = denseam.train(recipe, split)
        error = denseam.evaluate(result.model, split.test).error
        assert error == result.records[-1].test_error
        memories.append(result.model.memories.detach())
    assert all(torch.equal(memories[0], each) for each in memories)


@pytest.mark.parametrize("method", ["fgsm", "bim", "square", "minimum"])
def test_pictures_in_colour_are_attacked_and_tables_are_not(method: str) -> None:
    values = 2 * torch.rand(12, 48, generator=torch.Generator().manual_seed(0)) - 1
    model = denseam.DenseAM(48, 3, n_memories=20, power=3, temperature=5.0)
    images = ImageSet(values.reshape(12, 3, 4, 4), torch.arange(12) % 3, 3)
    sizes = None if method == "minimum" else [0.5]
    attacked = denseam.descent.attack_set(model, images, method, sizes)
    assert attacked.input_shape == (3, 4, 4)
    if sizes:
        assert ((attacked.visible() - values).abs() <= 0.5 + 1e-6).all()
        assert (attacked.visible() != values).any()
    rows = FeatureSet(values, images.labels, 3)
    with pytest.raises(InputError, match="an attack works on pictures, an ImageSet: features has"):
        denseam.descent.attack_set(model, rows, method, sizes)  # type: ignore[arg-type]


def test_a_search_at_random_takes_one_colour_for_grey() -> None:
    model = denseam.DenseAM(16, 3, n_memories=20, power=3, temperature=5.0)
    v = torch.zeros(5, 16)
    grey, colour = (
        denseam.descent.square_attack(model, v, model.predict(v), 0.1, shape=shape, queries=20)
        for shape in ((4, 4), (1, 4, 4))
    )
    assert torch.equal(grey.images, colour.images)


LABELS = {
    "gaps": ([7, 2, 7], [1, 0, 1], ("2", "7")),
    "from one": ([1, 2, 2], [0, 1, 1], ("1", "2")),
    "strings": (["b", "a", "b"], [1, 0, 1], ("a", "b")),
    "bytes": (np.array([b"b", b"a", b"b"]), [1, 0, 1], ("a", "b")),
    "floats": ([1.0, 0.0, 1.0], [1, 0, 1], ("0", "1")),
    "parts": ([0.5, 1.5, 0.5], [0, 1, 0], ("0.5", "1.5")),
    "bools": ([True, False, True], [1, 0, 1], ("False", "True")),
    "objects": (np.array(["b", 1, "b"], object), [1, 0, 1], ("1", "b")),
    "one-hot": (np.eye(2)[[1, 0, 1]], [1, 0, 1], ("0", "1")),
    "one column": ([[3], [4], [3]], [0, 1, 0], ("3", "4")),
    "negative": (torch.tensor([-1, 1, -1]), [0, 1, 0], ("-1", "1")),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_of_any_type_are_classes(case: str) -> None:
    labels, numbers, names = LABELS[case]
    one = FeatureSet.from_arrays(ROWS, labels)
    assert (one.labels.tolist(), one.class_names) == (numbers, names)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.0, float("nan"), 1.0], "row 1 .* is nan; 1 such"),
        (np.array(["a", None, "b"], object), "row 1 .* has no label"),
        (np.ones((3, 2)), "one-hot, with a single 1"),
        (np.zeros((3, 2, 2)), r"shape \(M,\)"),
        (3, r"shape \(M,\)"),
        ([1j, 2, 3], "numbers or strings"),
        ([0, 1], r"shape \(3,\), got \(2,\)"),
    ],
)
def test_labels_that_are_no_classes(labels: object, message: str) -> None:
    with pytest.raises(DenseAMError, match=message):
        FeatureSet.from_arrays(ROWS, labels)

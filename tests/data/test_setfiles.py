"""Image sets come back from their files bit for bit."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from denseam.data import ImageSet
from denseam.errors import InputError

from .sets import FORMATS, bits, made, parts, read, there_and_back

INTEGERS = (
    *(torch.uint8, torch.int8, torch.int16, torch.uint16),
    *(torch.int32, torch.uint32, torch.int64, torch.uint64),
)
FLOATS = (torch.float16, torch.float32, torch.float64)


@pytest.fixture(params=FORMATS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"set{request.param}"


@pytest.mark.parametrize("count", [1, 5])
def test_everything_comes_back(path: Path, count: int) -> None:
    images = made(count)
    assert parts(there_and_back(images, path)) == parts(images)
    assert read(path).digest() == images.digest()
    images.save(str(path))
    assert parts(read(path)) == parts(images)


def test_suffixes_in_capitals_are_the_same_formats(path: Path) -> None:
    capital = path.with_suffix(path.suffix.upper())
    assert parts(there_and_back(made(), capital)) == parts(made())


@st.composite
def tensors(draw: st.DrawFn, count: int) -> Tensor:
    """Any bits at all, read as numbers: NaNs with payloads and negative zeros among them."""
    dtype = draw(st.sampled_from((torch.bool, *INTEGERS, *FLOATS)))
    shape = (count, *draw(st.lists(st.integers(0, 3), max_size=2)))
    size = int(np.prod(shape)) * dtype.itemsize
    raw = draw(st.binary(min_size=size, max_size=size))
    if dtype is torch.bool:
        return torch.tensor([byte % 2 == 1 for byte in raw], dtype=dtype).reshape(shape)
    return torch.tensor(list(raw), dtype=torch.uint8).view(dtype).reshape(shape)


NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1
).filter(lambda name: name not in {"images", "labels"})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@st.composite
def image_sets(draw: st.DrawFn) -> ImageSet:
    count, height, width = (draw(st.integers(1, 5)) for _ in range(3))
    pixels = torch.tensor(
        draw(st.lists(st.integers(0, 255), min_size=count, max_size=count)), dtype=torch.uint8
    )
    images = pixels[:, None, None].expand(count, height, width)  # strides of 0
    dtype = draw(st.sampled_from((torch.uint8, torch.float32, torch.float64)))
    if dtype.is_floating_point:
        images = (images.to(dtype) / 127.5 - 1).clamp(-1, 1)
    n_classes = draw(st.integers(1, 4))
    labels = draw(st.lists(st.integers(0, n_classes - 1), min_size=count, max_size=count))
    return ImageSet(
        images,
        torch.tensor(labels),
        n_classes,
        tuple(draw(st.lists(st.text(), unique=True, min_size=n_classes, max_size=n_classes))),
        draw(st.text()),
        draw(st.dictionaries(st.text(), JSON, max_size=3)),
        draw(st.dictionaries(NAMES, tensors(count), max_size=3)),
    )


@given(image_sets(), st.sampled_from(FORMATS))
def test_any_set_comes_back(
    tmp_path_factory: pytest.TempPathFactory, images: ImageSet, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("any") / f"set{suffix}"
    assert parts(there_and_back(images, path)) == parts(images)


@pytest.mark.parametrize("dtype", [torch.bool, *INTEGERS, *FLOATS], ids=str)
def test_every_type_of_fact_comes_back(path: Path, dtype: torch.dtype) -> None:
    values = torch.tensor([[0, 1, 100]] * 5).to(dtype)
    images = made(facts={"x": values, "row": values[:, 0], "none": values[:, :0]})
    assert parts(there_and_back(images, path)) == parts(images)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn], ids=str)
def test_types_that_numpy_does_not_have(tmp_path: Path, dtype: torch.dtype) -> None:
    images = made(facts={"x": torch.ones(5).to(dtype)})
    there_and_back(images, tmp_path / "a.safetensors")
    assert read(tmp_path / "a.safetensors").facts["x"].dtype is dtype
    with pytest.raises(InputError, match=r"fact:x is .*float.* \.npz files do not have: save as"):
        images.save(tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


def test_names_that_zip_files_and_numpy_could_mix_up(path: Path) -> None:
    names = [
        "z",
        "a",
        "a.npy",
        "a.npy.npy",
        "fact:a",
        "denseam",
        "__metadata__",
        "file",
        "\\",
        "é ",
    ]
    facts = {name: torch.full((5,), number) for number, name in enumerate(names)}
    found = there_and_back(made(facts=facts), path)
    assert list(found.facts) == names
    assert [int(value[0]) for value in found.facts.values()] == list(range(len(names)))


def test_tensors_that_share_memory_or_need_gradients(path: Path) -> None:
    labels = torch.tensor([0, 1, 0, 1, 1])
    pixels = torch.rand(7, 5, 3).transpose(0, 1).requires_grad_()
    images = ImageSet(pixels, labels, 2, facts={"t": labels, "p": pixels, "half": labels[:, None]})
    assert parts(there_and_back(images, path)) == parts(images)
    again = there_and_back(read(path), path.with_stem("again"))
    assert parts(again) == parts(images)
    assert not again.images.requires_grad
    same = ImageSet(labels.view(torch.uint8).reshape(5, 2, 4), labels, 2)
    assert parts(there_and_back(same, path)) == parts(same)


def test_a_set_that_was_read_does_not_follow_its_file(path: Path) -> None:
    images = made(50)
    found = there_and_back(images, path)
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert parts(found) == parts(images)


def test_metadata_come_back_as_json_has_them(path: Path) -> None:
    found = there_and_back(made(metadata={"shape": (2, 3), 4: "four"}), path)
    assert found.metadata == {"shape": [2, 3], "4": "four"}


def test_equal_sets_give_equal_files(path: Path) -> None:
    made().save(path)
    first = path.read_bytes()
    columns = made().images.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    made(images=columns).save(path)
    assert path.read_bytes() == first


def test_numpy_alone_reads_the_npz(tmp_path: Path) -> None:
    made().save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as bundle:
        assert np.array_equal(bundle["images"], made().images.numpy())
        assert np.array_equal(bundle["labels"], made().labels.numpy())
        assert np.array_equal(bundle["fact:l2"], made().facts["l2"].numpy(), equal_nan=True)
        text = json.loads(str(bundle["denseam"]))
    assert text["kind"] == "image set"
    assert (text["name"], text["n_classes"], text["class_names"], text["metadata"]) == (
        "boundary of mnist-n30", 2, ["no", "yes"], made().metadata,
    )  # fmt: skip


def test_safetensors_alone_reads_the_other(tmp_path: Path) -> None:
    made().save(tmp_path / "a.safetensors")
    found = safetensors.torch.load_file(tmp_path / "a.safetensors")
    assert bits(found["images"]) == bits(made().images)
    with safetensors.safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        text = json.loads(file.metadata()["denseam"])
    assert (text["kind"], text["metadata"]) == ("image set", made().metadata)

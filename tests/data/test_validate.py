"""Every way in which images and labels can be wrong has its message."""

import math

import pytest
import torch

from denseam.data import validate
from denseam.errors import InputError

BAD_VISIBLE = {
    "type": ([[0.0]], "must be a torch.Tensor"),
    "dtype": (torch.zeros(2, 3, dtype=torch.uint8), "ImageSet.visible"),
    "integers": (torch.zeros(2, 3, dtype=torch.int64), "must be floating"),
    "axes": (torch.zeros(3), r"shape \(B, 3\), got \(3,\)"),
    "width": (torch.zeros(2, 4), r"shape \(B, 3\), got \(2, 4\)"),
    "nan": (torch.tensor([[0.0, math.nan, 0.0]]), "NaN"),
    "inf": (torch.tensor([[0.0, math.inf, 0.0]]), "infinite"),
    "-inf": (torch.tensor([[0.0, -math.inf, 0.0]]), "infinite"),
    "bytes": (torch.tensor([[0.0, 255.0, 3.0]]), "look like 0..255"),
    "below": (torch.tensor([[0.0, -1.1, 0.0]]), r"must lie in \[-1, 1\], got -1.1..0"),
    "above": (torch.tensor([[-1.0, 1.00001, 0.0]]), r"must lie in \[-1, 1\]"),
}


@pytest.mark.parametrize("case", BAD_VISIBLE)
def test_visible_is_refused(case: str) -> None:
    v, message = BAD_VISIBLE[case]
    with pytest.raises(InputError, match=message):
        validate.check_visible(v, 3)  # type: ignore[arg-type]


def test_visible_is_taken() -> None:
    edge = torch.tensor([[-1 - 5e-7, 0.0, 1 + 5e-7]], dtype=torch.float64)
    validate.check_visible(edge, 3)
    validate.check_visible(torch.zeros(2, 3, dtype=torch.bfloat16), 3)
    validate.check_visible(torch.zeros(2, 3, requires_grad=True), 3)
    validate.check_visible(torch.zeros(0, 3), 3)
    with pytest.raises(InputError, match="no image"):
        validate.check_visible(torch.zeros(0, 3), 3, allow_empty=False)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([1], "torch.Tensor"),
        (torch.zeros(2, 3), r"\(M, H, W\), got \(2, 3\)"),
        (torch.zeros(2, 0, 3), r"\(M, H, W\)"),
        (torch.zeros(0, 3, 3), "empty"),
        (torch.zeros(1, 3, 3, dtype=torch.int32), "uint8, float32 or float64"),
        (torch.full((1, 2, 2), 2.0), "look like 0..255"),
        (torch.full((1, 2, 2), math.nan), "NaN"),
    ],
)
def test_images_are_refused(images: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        validate.check_images(images)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "n_classes", "message"),
    [
        ([0, 1, 2], 3, "torch.Tensor"),
        (torch.tensor([0.0, 1.0, 2.0]), 3, "int64"),
        (torch.tensor([0, 1]), 3, r"shape \(3,\), got \(2,\)"),
        (torch.tensor([0, 1, 3]), 3, r"0\.\.2, got 0\.\.3"),
        (torch.tensor([-1, 1, 2]), 3, r"got -1\.\.2"),
        (torch.tensor([1, 2, 3]), 3, "subtract 1"),
        (torch.tensor([0, 0, 0]), 0, "n_classes = 0: wanted a whole number >= 1"),
    ],
)
def test_labels_are_refused(labels: object, n_classes: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        validate.check_labels(labels, n_classes, 3)  # type: ignore[arg-type]


def test_no_labels_are_fine_for_no_images() -> None:
    validate.check_labels(torch.zeros(0, dtype=torch.int64), 3, 0)


def test_a_class_without_examples() -> None:
    validate.check_every_class_present(torch.tensor([2, 0, 1]), 3)
    with pytest.raises(InputError, match="class 1, 3 "):
        validate.check_every_class_present(torch.tensor([2, 0, 2]), 4)
    with pytest.raises(InputError, match="start at 1"):
        validate.check_every_class_present(torch.tensor([1, 2]), 3)


@pytest.mark.parametrize(
    ("names", "message"),
    [(("a",), "need 2 names, got 1"), (("a", "a"), "differ"), (("a", 1), "strings")],
)
def test_class_names_are_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        validate.check_class_names(names, 2)

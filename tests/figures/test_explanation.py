"""The picture of an explanation: every memory at its place, with the right words."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from denseam import DenseAM
from denseam.errors import InputError
from denseam.figures import explanation
from denseam.figures.explanation import ExplainedImage, headline

from .small import some_axes

NAMES = ("cat", "dog", "ankle boot")


def some_found(count=3, power=3, **options):
    model = DenseAM(20, 3, 30, power, 5.0, seed=1)
    return model.explain(torch.rand(20) * 2 - 1, count, **options)


def some_record(**changes):
    record = ExplainedImage("n = 3", some_found(), (5, 4), NAMES, 1)
    return replace(record, **changes)


def silent(n_classes=3):
    """An explanation without an active memory."""
    model = DenseAM(20, n_classes, 4, 3, 5.0)
    with torch.no_grad():
        model.memories.fill_(1.0)
    return model.explain(-torch.ones(20))


def pictures(ax):
    """Extent (left, right, bottom, top) and contents of what is drawn."""
    return [(drawn.get_extent(), torch.from_numpy(drawn.get_array().data), drawn.cmap.name)
            for drawn in ax.get_images()]  # fmt: skip


@pytest.mark.parametrize("shape", [(5, 4), (4, 5)])
@pytest.mark.parametrize("count", [3, 12])
def test_every_memory_is_drawn_and_the_image_in_gray(count, shape):
    found, (ax,) = some_found(count), some_axes()
    record = some_record(found=found, shape=shape)
    explanation.plot(record, ax)
    *memories, image = pictures(ax)
    assert image[2] == "gray"
    assert torch.equal(image[1], found.visible.reshape(shape))
    wanted = [m for votes in (found.predicted, found.other) for m in votes.visible]
    assert len(memories) == len(wanted) == 2 * count
    for (_, pixels, colours), memory in zip(memories, wanted, strict=True):
        assert colours == "RdBu_r"
        assert torch.equal(pixels, memory.reshape(shape))
    assert all(drawn.get_clim() == (-1, 1) for drawn in ax.get_images())
    left, right = sorted(ax.get_xlim())
    top, bottom = sorted(ax.get_ylim())
    boxes = [box for box, *_ in [*memories, image]]
    for x0, x1, y1, y0 in boxes:
        assert (y1 - y0, x1 - x0) == pytest.approx(shape)
        assert left <= x0 < x1 <= right
        assert top <= y0 < y1 <= bottom
    for i, (x0, x1, y1, y0) in enumerate(boxes):
        for u0, u1, w1, w0 in boxes[:i]:
            assert x1 < u0 or u1 < x0 or y1 < w0 or w1 < y0, "two pictures touch"


def test_under_each_memory_stand_share_contribution_and_votes():
    record, (ax,) = some_record(), some_axes()
    explanation.plot(record, ax)
    below = {}
    for text in ax.texts:
        below.setdefault(getattr(text, "xy", None), []).append(text.get_text())
    *memories, image = pictures(ax)
    votes = record.found.predicted
    for m, ((x0, x1, _, y0), *_) in enumerate(memories[:3]):
        share, contribution, named = below[(x0 + x1) / 2, y0 + 5]
        assert float(share.removesuffix(" %")) == pytest.approx(
            100 * float(votes.shares[m]), rel=0.01
        )
        shown = contribution.replace("\N{MINUS SIGN}", "-").removesuffix(" %")
        assert float(shown) == pytest.approx(100 * float(votes.contributions[m]), abs=0.06)
        assert named == (" ".join(NAMES[c] for c in votes.votes_for[m]) or "none")
    (x0, x1, _, y0), *_ = image
    assert below[(x0 + x1) / 2, y0 + 5] == [
        "n = 3", f"predicted: {NAMES[votes.label]}", "right: dog",
    ]  # fmt: skip
    assert headline(record.found, votes, NAMES) in below[None]


def test_headlines_say_how_many_memories_carry_and_decide():
    found = some_found()
    first, second = found.predicted, found.other
    first = replace(first, n_half=154, n_deciding=1, margin=0.0029)
    second = replace(second, n_half=1, n_deciding=12, margin=-0.0029)
    ahead, behind = (headline(replace(found, predicted=first), v, NAMES) for v in (first, second))
    one, other = NAMES[first.label], NAMES[second.label]
    assert ahead == (
        f"{one} (predicted): 154 memories carry half of the energy; 1 decides the lead of 0.29 % "
        f"over {other}"
    )
    assert behind == (
        f"{other}: 1 memory carries half of the energy; 12 decide the lag of 0.29 % behind {one}"
    )


def test_without_an_active_memory_it_says_so():
    record, (ax,) = some_record(found=silent()), some_axes()
    explanation.plot(record, ax)
    said = [text.get_text() for text in ax.texts]
    assert said[:2] == ["cat: no memory is active", "dog: no memory is active"]
    assert "predicted: nothing" in said
    assert len(ax.get_images()) == 1


def test_many_votes_and_long_names_are_cut():
    found = some_found(1)
    names = tuple(f"class {c}" for c in range(3))
    votes = replace(found.predicted, votes=torch.tensor([[0.9, 0.8, 0.7]]))
    record = some_record(found=replace(found, predicted=votes), class_names=names)
    (ax,) = some_axes()
    explanation.plot(record, ax)
    assert "class 0 \N{HORIZONTAL ELLIPSIS}" in [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("shape", [(5, 4), (1, 20), (20, 1)])
@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_files_are_the_same_every_time(tmp_path, suffix, shape):
    record = some_record(shape=shape)
    for name in ("one", "two"):
        explanation.save(record, tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_a_figure_grows_with_its_memories(tmp_path):
    sizes = []
    for count in (3, 10, 30):
        explanation.save(some_record(found=some_found(count)), tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as image:
            sizes.append(image.size)
    assert sizes[0][0] < sizes[1][0] == sizes[2][0] < 2000
    assert sizes[0][1] == sizes[1][1] < sizes[2][1]


def test_dollars_in_a_name_begin_no_formula():
    record, (ax,) = some_record(class_names=("$a", "b$", "c"), name="$n$"), some_axes()
    explanation.plot(record, ax)
    assert all("$" not in text.get_text().replace(r"\$", "") for text in ax.texts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("a", "b")}, "2 class_names for 3 classes"),
        ({"shape": (5, 5)}, r"shape \(5, 5\) does not fit 20 pixels"),
        ({"right": 3}, r"right = 3: wanted 0 \.\. 2"),
    ],
)
def test_records_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        some_record(**changes)

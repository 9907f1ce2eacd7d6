"""The minimum-norm attack, against distances that are known exactly."""

import itertools

import pytest
import torch
from tests.descent.small import images, prototypes, random_model
from torch import nn

import denseam
from denseam import DenseAM, minimum_norm
from denseam.descent import Stop, cross_boundary
from denseam.descent.roots import first_crossing
from denseam.errors import InputError

NORMS = ["l2", "linf"]


def linear(n_classes: int) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(12, n_classes).double()


def length_of(found, norm):
    return found.distances.l2 if norm == "l2" else found.distances.linf


def distances_to_planes(module, v, norm):
    """(B, C): how far each class's plane is, by the dual norm of its normal."""
    with torch.no_grad():
        scores = module(v)
        top = scores.argmax(dim=1)
        normals = module.weight[None] - module.weight[top][:, None]
        gaps = scores.gather(1, top[:, None]) - scores
    dual = normals.norm(dim=2) if norm == "l2" else normals.abs().sum(dim=2)
    return (gaps / dual).scatter(1, top[:, None], torch.inf)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("n_classes", [2, 5])
def test_of_planes_the_nearest_is_found_exactly(norm, n_classes):
    module, v = linear(n_classes), images(20, 12)
    found = minimum_norm(module, v, norm=norm, clip=False)
    least, target = distances_to_planes(module, v, norm).min(dim=1)
    assert found.success.all()
    torch.testing.assert_close(length_of(found, norm), least, rtol=1e-5, atol=0)
    assert torch.equal(found.targets, target)


@pytest.mark.parametrize("norm", NORMS)
def test_in_the_box_a_plane_is_as_far_as_its_multiplier_says(norm):
    module, v = linear(2), images(20, 12)
    found = minimum_norm(module, v, norm=norm)
    assert found.images.abs().max() <= 1
    with torch.no_grad():
        scores = module(v)
        top = scores.argmax(dim=1)
        normal = module.weight[1 - top] - module.weight[top]
        gap = (scores.gather(1, top[:, None]) - scores.gather(1, 1 - top[:, None])).squeeze(1)
    way = normal if norm == "l2" else normal.sign()
    for row in range(len(v)):
        low, high = 0.0, 1e4
        for _ in range(200):  # the least multiplier at which the plane is reached
            middle = (low + high) / 2
            moved = (v[row] + middle * way[row]).clamp(-1, 1) - v[row]
            low, high = (low, middle) if moved @ normal[row] >= gap[row] else (middle, high)
            low, high = (middle, high) if moved @ normal[row] < gap[row] else (low, middle)
        moved = (v[row] + high * way[row]).clamp(-1, 1) - v[row]
        if moved @ normal[row] < gap[row] - 1e-9:  # the plane is outside of the box
            assert not found.success[row]
            continue
        assert found.success[row]
        wanted = moved.norm() if norm == "l2" else moved.abs().max()
        torch.testing.assert_close(length_of(found, norm)[row], wanted, rtol=1e-5, atol=0)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("power", [2, 3, 5])
def test_with_two_pixels_hardly_anything_on_a_grid_is_nearer(norm, power):
    """Descent is local: behind two bends of a boundary in the plane it may miss something."""
    model = DenseAM(2, 3, 12, power, 2.0, dtype=torch.float64)
    generator = torch.Generator().manual_seed(4)
    model.memories.data = 2 * torch.rand(12, 5, dtype=torch.float64, generator=generator) - 1
    axis = torch.linspace(-1, 1, 201, dtype=torch.float64).tolist()
    grid = torch.tensor(list(itertools.product(axis, axis)), dtype=torch.float64)
    labels, v = model.predict(grid), grid[::600]
    found = minimum_norm(model, v, norm=norm)
    order = 2.0 if norm == "l2" else torch.inf
    nearest = torch.tensor([
        float(torch.linalg.vector_norm(grid[labels != own] - image, ord=order, dim=1).min())
        for image, own in zip(v, found.labels, strict=True)
    ])  # fmt: skip
    ratio = length_of(found, norm) / nearest
    assert found.success.double().mean() > 0.9
    assert (ratio[found.success] > 1 - 0.01 / nearest[found.success]).all()  # the grid's step
    assert (ratio[found.success] < 1.1).double().mean() > 0.75


@pytest.mark.parametrize("power", [3, 20])
def test_the_way_lies_along_the_gradient_where_it_ends(power):
    model, v = random_model(power), images(10, 9)
    found = minimum_norm(model, v, clip=False)
    assert found.success.all()
    moved = found.images - v
    at = found.images.clone().requires_grad_()
    scores = model.scores(at, "log_energy")
    rows = torch.arange(len(v))
    margin = scores[rows, found.labels] - scores[rows, found.targets]
    (gradient,) = torch.autograd.grad(margin.sum(), at)
    cosine = nn.functional.cosine_similarity(moved, -gradient, dim=1)
    assert cosine.min() > 0.999


@pytest.mark.parametrize("norm", NORMS)
def test_a_boundary_that_no_ray_from_the_image_meets_is_met_by_a_curve(norm):
    """Where ``cross_boundary`` gets across, so does this, and not farther."""
    model = DenseAM(25, 3, 12, 3, 8.0, seed=0)
    generator = torch.Generator().manual_seed(1)
    v = (torch.rand(3, 25, generator=generator) < 0.5).float() * 2 - 1
    model.memories.data[:, :25] = 0.4 * torch.randn(12, 25, generator=generator)
    model.memories.data[:3, :25] += 0.5 * v
    model.memories.data[:3, 25:] = 2 * torch.eye(3) - 1
    v = (v.repeat(8, 1) + 0.4 * torch.randn(24, 25, generator=generator)).clamp(-1, 1)
    crossed = cross_boundary(model, v, norm=norm, objective="margin", step=0.02)
    nearest = minimum_norm(model, v, norm=norm)
    assert bool((nearest.success | ~crossed.success).all())
    both = crossed.success & nearest.success
    assert int(both.sum()) > 5
    assert (length_of(nearest, norm) <= 1.02 * length_of(crossed, norm))[both].all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("on_grid", [True, False])
def test_images_can_stay_wrong_as_8_bit_pictures(norm, on_grid):
    """Rounded, half of the nearest images are right again; nearly as near are some that are not."""
    model, test = denseam.load_pretrained("mnist-n2"), denseam.data.load("mnist").test
    v, labels = test.visible()[:12], test.labels[:12]
    v = v if on_grid else (v + 0.003).clamp(-1, 1)
    nearest = minimum_norm(model, v, labels, norm=norm, rounds=3, eight_bit=False)
    pictures = minimum_norm(model, v, labels, norm=norm, rounds=3, eight_bit=True)
    usual = minimum_norm(model, v, labels, norm=norm, rounds=3)
    assert torch.equal(usual.images, (pictures if on_grid else nearest).images)
    written = ((pictures.images + 1) * 127.5).round() / 127.5 - 1
    assert torch.equal(written, pictures.images)
    assert pictures.success.all()
    assert (model.predict(pictures.images) != labels).all()
    assert pictures.written(model).all()
    assert 1 < int(nearest.written(model).sum()) < 11
    farther = length_of(pictures, norm) - length_of(nearest, norm)
    most = {"l2": (0.15, 0.03), "linf": (3.2 / 255, 2.1 / 255)}[norm]
    assert farther.max() < most[on_grid]
    assert torch.equal(pictures.distances.l2, (pictures.images.double() - v.double()).norm(dim=1))
    with pytest.raises(InputError, match=r"eight_bit: .*clip"):
        minimum_norm(model, v, norm=norm, eight_bit=True, clip=False)


@pytest.mark.parametrize("norm", NORMS)
def test_labels_change_in_float32_and_in_float64_and_barely(norm):
    model = denseam.load_pretrained("mnist-n30")
    v = denseam.data.load("mnist").test.visible()[:12]
    nearest = minimum_norm(model, v, norm=norm, eight_bit=False)
    assert nearest.success.all()
    assert nearest.images.dtype == v.dtype
    assert nearest.images.abs().max() <= 1
    exact = denseam.load_pretrained("mnist-n30").double()
    assert (model.predict(nearest.images) != nearest.labels).all()
    assert (exact.predict(nearest.images.double()) != nearest.labels).all()
    assert torch.equal(model.predict(nearest.images), nearest.targets)
    short_of = v.double() + (1 - 3e-3) * (nearest.images.double() - v)
    assert (exact.predict(short_of) == nearest.labels).all()


def test_labels_stay_changed_in_any_batch():
    """Products of many images round otherwise than those of few, and on two threads than on one."""
    model = denseam.load_pretrained("mnist-n3")
    v, threads = denseam.data.load("mnist").test.visible()[:100], torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        found = minimum_norm(model, v, norm="linf", rounds=3)
        assert found.success.all()
        for count in (2, 1):
            torch.set_num_threads(count)
            for size in (1, 16, 100):
                labels = torch.cat([model.predict(part) for part in found.images.split(size)])
                assert (labels != found.labels).all()
    finally:
        torch.set_num_threads(threads)


def test_it_is_nearer_than_the_way_of_the_paper():
    model = denseam.load_pretrained("mnist-n20")
    v = denseam.data.load("mnist").test.visible()[:12]
    paper = cross_boundary(model, v).boundary_distances.l2
    assert (minimum_norm(model, v).distance < paper).all()


def test_an_image_that_is_wrong_already_stays_where_it_is():
    model, v = prototypes(), images(10, 12)
    labels = model.predict(v)
    labels[3] = (labels[3] + 1) % model.n_classes
    found = minimum_norm(model, v, labels)
    assert found.success[3]
    assert found.distance[3] == 0
    assert found.steps[3] == 0
    assert found.targets[3] == model.predict(v)[3]
    assert (found.distance[:3] > 0).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("model", [linear(3), prototypes()])
def test_where_all_images_are_wrong_already_all_stay(norm, model):
    v = images(3, 12)
    own = (model(v).argmax(dim=1) + 1) % 3
    found = minimum_norm(model, v, own, norm=norm)
    assert torch.equal(found.images, v)
    assert found.success.tolist() == [True] * 3
    assert found.steps.tolist() == [0] * 3


@pytest.mark.parametrize("norm", NORMS)
def test_chunks_do_not_matter(norm):
    model, v = random_model(5), images(11, 9)
    whole, parts = (minimum_norm(model, v, norm=norm, chunk=chunk) for chunk in (11, 4))
    torch.testing.assert_close(whole.images, parts.images)


def test_where_every_image_has_one_label_nothing_is_found():
    module = nn.Linear(12, 3).double()
    with torch.no_grad():
        module.weight.zero_()
        module.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    v = images(5, 12)
    found = minimum_norm(module, v)
    assert not found.success.any()
    assert found.stopped == (Stop.NO_GRADIENT,) * 5
    assert torch.equal(found.images, v)


class Masked(nn.Module):
    """Logits of which the first class has none where the first pixel is dark."""

    def forward(self, v):
        logits = torch.stack([0.3 + v[:, 0], 0.5 - v[:, 0], 0 * v[:, 0] - 5], dim=1)
        dark = torch.zeros_like(logits).masked_fill_((v[:, :1] < -0.3) & FIRST, -torch.inf)
        return logits + dark


FIRST = torch.tensor([[True, False, False]])


def test_a_class_that_is_masked_for_one_image_leaves_the_others_alone():
    v = torch.tensor([[0.9, 0.0], [0.5, 0.2], [0.3, -0.2], [0.7, 0.7]])
    together = minimum_norm(Masked(), v)
    assert together.success.all()
    for i, image in enumerate(v):
        alone = minimum_norm(Masked(), image[None])
        assert alone.success.all()
        torch.testing.assert_close(alone.images[0], together.images[i], rtol=0, atol=1e-6)


def test_an_image_is_moved_as_far_as_it_would_be_alone():
    model, v = prototypes().float(), images(12, 12).float()
    together = minimum_norm(model, v).distance
    alone = torch.cat([minimum_norm(model, image[None]).distance for image in v])
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=0)


def test_a_model_of_one_class_has_no_boundary():
    with pytest.raises(InputError, match="1 class has no boundary"):
        minimum_norm(nn.Linear(12, 1).double(), images(2, 12))


def test_more_rounds_never_lead_farther_away():
    model, v = random_model(8), images(20, 9)
    distances = [minimum_norm(model, v, rounds=rounds).distance for rounds in (1, 3, 10)]
    assert (distances[1] <= distances[0] * (1 + 1e-6)).all()
    assert (distances[2] <= distances[1] * (1 + 1e-6)).all()
    assert (distances[2] < distances[0]).any()


@pytest.mark.parametrize("guess", [1e-3, 0.5, 1.0, 40.0])
def test_a_ray_meets_the_boundary_just_behind_it(guess):
    roots = torch.tensor([0.01, 0.7, 3.0, 30.0], dtype=torch.float64)

    def margins(lengths):
        return torch.tanh(roots - lengths) * (1 + lengths)

    start = margins(torch.zeros_like(roots))
    found = first_crossing(margins, start, torch.full_like(roots, guess), looks=40)
    assert (margins(found) <= 0).all()
    torch.testing.assert_close(found, roots, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"norm": "l1"}, "norm = 'l1'"),
        ({"rounds": 0}, "rounds = 0"),
        ({"starts": 0}, "starts = 0"),
        ({"chunk": 0}, "chunk = 0"),
        ({"labels": torch.tensor([7] * 5)}, "labels must lie in"),
    ],
)
def test_bad_input_is_refused(given, words):
    with pytest.raises(InputError, match=words):
        minimum_norm(prototypes(), images(5, 12), **given)

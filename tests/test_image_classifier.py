"""ImageClassifier: what toolkits are promised, against the paper's equations."""

import math
import warnings
from itertools import product

import pytest
import torch

import denseam
from denseam import DenseAM, DenseAMWarning, ImageClassifier, baselines, energy
from denseam.errors import InputError
from denseam.image_classifier import logit_scale
from denseam.kernels import by_name

SHAPE = (1, 4, 5)
HEADS = ("log_energy", "energy_gap", "tanh")


def small(power=3, *, temperature=5.0, dtype=torch.float64, seed=0):
    return DenseAM(20, 4, 30, power, temperature, seed=seed, dtype=dtype)


def images(count=6, dtype=torch.float64):
    return torch.rand(count, *SHAPE, dtype=dtype)


def paper(head, pixels, model):
    """What a head should say, by ``denseam.energy`` alone."""
    visible = 2 * pixels.flatten(1) - 1
    if head == "log_energy":
        logs = energy.log_energy(visible, model.memories, model.power)
        return torch.log_softmax(logs, dim=1)
    gap = energy.energy_gap(visible, model.memories, model.power, model.temperature)
    return gap if head == "energy_gap" else torch.tanh(gap)


@pytest.mark.parametrize("of_model", [torch.float32, torch.float64])
@pytest.mark.parametrize("of_images", [torch.float32, torch.float64])
def test_logits_have_the_images_dtype_and_the_paper_s_values(of_model, of_images):
    model, pixels = small(dtype=of_model), images(dtype=of_images)
    for head in HEADS:
        logits = ImageClassifier(model, head)(pixels)
        assert logits.shape == (6, 4)
        assert logits.dtype is of_images
        exact = paper(head, pixels.double(), small(dtype=of_model).double())
        single = torch.float32 in (of_model, of_images)
        torch.testing.assert_close(
            logits.double(), exact, rtol=1e-4 if single else 1e-10, atol=1e-6 if single else 1e-12
        )


@pytest.mark.parametrize("head", HEADS)
def test_a_scale_is_a_factor_before_softmax(head):
    model, pixels = small(), images()
    once, scaled = (ImageClassifier(model, head, scale=by)(pixels) for by in (1.0, 50))
    if head == "log_energy":
        torch.testing.assert_close(scaled, torch.log_softmax(50 * once, dim=1))
    else:
        torch.testing.assert_close(scaled, 50 * once)


@pytest.mark.parametrize("scale", [0, -1.0, math.inf, math.nan, "1"])
def test_a_scale_is_a_number_above_0(scale):
    with pytest.raises(InputError, match="scale"):
        ImageClassifier(small(), scale=scale)


def test_the_scale_of_some_scores_is_that_of_their_median_lead():
    scores = torch.tensor([[0.0, 0.02, 0.01], [0.3, 0.5, 0.1], [1.0, 0.9, 0.96], [2.0, 2.0, 0.0]])
    scale = logit_scale(scores)
    leads = (scale * scores.double()).topk(2, dim=1).values.diff(dim=1).abs()[:3]
    assert leads.median() == pytest.approx(8, rel=1e-6)
    assert logit_scale(torch.zeros(2, 3)) == 1


def test_any_layout_of_the_pixels_will_do_and_no_images_too():
    classifier, pixels = ImageClassifier(small()), images()
    assert torch.equal(classifier(pixels), classifier(pixels.flatten(1)))
    assert classifier(pixels[:0]).shape == (0, 4)


@pytest.mark.parametrize("power", [1, 2, 3, 20, 30])
@pytest.mark.parametrize("head", HEADS)
def test_gradients_are_those_of_the_paper_s_equations(head, power):
    model, weights = small(power, temperature=20.0), torch.randn(6, 4, dtype=torch.float64)
    ours, theirs = images().requires_grad_(), None
    theirs = ours.detach().clone().requires_grad_()
    (ImageClassifier(model, head)(ours) * weights).sum().backward()
    to_memories, model.memories.grad = model.memories.grad, None
    (paper(head, theirs, model) * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(to_memories, model.memories.grad, rtol=1e-9, atol=1e-14)


def test_memories_have_a_gradient_where_images_have_none():
    model = small()
    ImageClassifier(model)(images())[:, 0].sum().backward()
    assert model.memories.grad.abs().sum() > 0


def test_labels_are_the_model_s_own():
    test = denseam.data.load("mnist").test
    model = denseam.load_pretrained("mnist-n30")
    visible = test.visible()[:500]
    labels = model.predict(visible)
    for head in HEADS[:2]:
        logits = ImageClassifier(model, head)((visible / 2 + 0.5).reshape(-1, 1, 28, 28))
        assert torch.equal(logits.argmax(dim=1), labels)


def test_float32_keeps_classes_apart_that_nearly_tie():
    """Log-energies of 170 are 1.5e-5 apart in float32, and classes of some images not much more."""
    model = denseam.load_pretrained("mnist-n30")
    exact = ImageClassifier(denseam.load_pretrained("mnist-n30").double())
    start, end = denseam.data.load("mnist").test.visible()[:2] / 2 + 0.5  # a 7 and a 2
    low, high = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    for _ in range(50):  # to where the two digits tie
        middle = (low + high) / 2
        logits = exact((start + middle * (end - start))[None])[0]
        low, high = (middle, high) if logits.argmax() == 7 else (low, middle)
    way = low + torch.linspace(-2e-4, 2e-4, 101, dtype=torch.float64)
    pixels = (start + way[:, None] * (end - start)).float()
    ours, theirs = ImageClassifier(model)(pixels), exact(pixels.double())
    second = theirs.topk(2, dim=1).indices[50, 1]
    ours, theirs = ((z[:, 7] - z[:, int(second)]).double() for z in (ours, theirs))
    assert theirs.abs().max() < 1e-4
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)


@pytest.mark.parametrize("head", HEADS)
def test_the_same_images_get_the_same_logits(head):
    classifier, pixels = ImageClassifier(small(30, dtype=torch.float32), head), images().float()
    assert torch.equal(classifier(pixels), classifier(pixels.clone()))


@pytest.mark.parametrize("power", [1, 3, 30, 200])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("head", HEADS)
def test_logits_and_gradients_are_finite_without_active_memories(head, dtype, power):
    model = small(power, temperature=1e-3, dtype=dtype)
    with torch.no_grad():
        model.memories.fill_(1.0)
        model.memories[0, -1] = -1.0
    pixels = torch.stack(
        [torch.zeros(SHAPE), torch.full(SHAPE, 0.49), torch.full(SHAPE, 0.5), torch.ones(SHAPE)]
    ).requires_grad_()
    logits = ImageClassifier(model, head)(pixels)
    assert bool(logits.isfinite().all())
    torch.nn.functional.cross_entropy(logits, torch.zeros(4, dtype=torch.int64)).backward()
    assert bool(pixels.grad.isfinite().all())
    if head == "log_energy":
        assert torch.equal(logits[0], torch.full((4,), -math.log(4)))


def test_a_class_without_active_memory_comes_last():
    model = DenseAM(4, 2, 2, 30, 1.0)
    with torch.no_grad():
        model.memories.copy_(torch.tensor([[1.0] * 4 + [1, -1], [-1.0] * 4 + [-1, -1]]))
    logits = ImageClassifier(model)(torch.full((1, 1, 2, 2), 0.51))
    assert logits.argmax() == 0
    assert logits.isfinite().all()
    assert logits[0, 1] < -1000


@pytest.mark.parametrize("backend", ["reference", None])
def test_nan_and_infinite_pixels_make_nan_logits_of_their_image_only(backend, monkeypatch):
    if backend:
        kernel = by_name(backend)
        monkeypatch.setattr("denseam.kernels.autograd._kernel", lambda name, like, F: kernel)
    pixels, model = images(), small()
    with torch.no_grad():
        model.memories.abs_()  # so that -inf leaves none of them active
    for head, bad in product(HEADS, (torch.nan, torch.inf, -torch.inf)):
        pixels[1, 0, 0, 0] = bad
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"images from .*inf", DenseAMWarning)
            logits = ImageClassifier(model, head)(pixels)
        assert logits[1].isnan().all()
        assert logits[[0, 2, 3, 4, 5]].isfinite().all()


def test_logits_that_float32_cannot_hold_are_clamped():
    gap = ImageClassifier(small(30, temperature=1e-9), "energy_gap")(images(dtype=torch.float32))
    assert gap.abs().amax() == torch.finfo(torch.float32).max


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda x: 2 * x - 1, r"images / 2 \+ 0.5"),
        (lambda x: 255 * x, "images / 255"),
        (lambda x: 3 * x - 2, r"\[0, 1\]$"),
    ],
)
def test_images_of_another_scale_are_warned_of(wrong, hint):
    classifier, pixels = ImageClassifier(small()), images()
    with pytest.warns(DenseAMWarning, match=hint) as seen:
        classifier(wrong(pixels))
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error", DenseAMWarning)
        classifier(pixels)
        with pytest.raises(DenseAMWarning, match=hint):
            classifier(wrong(pixels))


def test_small_steps_over_the_edge_are_not_warned_of():
    classifier = ImageClassifier(small())
    classifier(torch.full((1, *SHAPE), 1.04))
    classifier(torch.full((1, *SHAPE), -0.04))


def test_what_is_no_batch_of_images_is_refused():
    classifier = ImageClassifier(small())
    with pytest.raises(InputError, match="divide bytes by 255"):
        classifier(torch.zeros(2, *SHAPE, dtype=torch.uint8))
    with pytest.raises(InputError, match="ndarray"):
        classifier(images().numpy())
    with pytest.raises(InputError, match=r"\(2, 1, 28, 28\).*20"):
        classifier(torch.zeros(2, 1, 28, 28))
    with pytest.raises(InputError, match=r"\(20,\)"):
        classifier(torch.zeros(20))


def test_other_modules_and_heads_are_refused():
    with pytest.raises(InputError, match="Linear"):
        ImageClassifier(torch.nn.Linear(20, 4))
    with pytest.raises(InputError, match="softmax"):
        ImageClassifier(small(), "softmax")


def test_it_moves_and_is_saved_like_any_module():
    classifier, pixels = ImageClassifier(small(dtype=torch.float32)), images()
    other = ImageClassifier(small(7, temperature=9.0, seed=1, dtype=torch.float32))
    assert not torch.equal(other(pixels), classifier(pixels))
    other.load_state_dict(classifier.state_dict())
    assert torch.equal(other(pixels), classifier(pixels))
    assert other.double()(pixels).dtype is torch.float64
    assert next(other.parameters()).dtype is torch.float64
    assert not classifier.training


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_it_works_where_its_parameters_are():
    classifier, pixels = ImageClassifier(small()), images()
    here = classifier(pixels)
    there = classifier.to("cuda")(pixels.cuda())
    assert there.device.type == "cuda"
    torch.testing.assert_close(there.cpu(), here)


@pytest.mark.parametrize("head", HEADS)
def test_torch_compile_takes_it_whole(head):
    classifier, pixels = ImageClassifier(small(), head), images().requires_grad_()
    compiled = torch.compile(classifier, backend="aot_eager", fullgraph=True)
    found, expected = compiled(pixels), classifier(pixels)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(x[:, 0].sum(), pixels)[0] for x in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def others():
    visible = 2 * torch.rand(40, 20) - 1
    labels = torch.arange(40) % 3  # none of the fourth class
    yield baselines.ReLUNetwork(20, 4, 15, temperature=5.0)
    yield baselines.PolynomialNetwork(20, 4, 15, 3, 5.0)
    yield baselines.RBFNetwork(20, 4, 15, temperature=5.0)
    yield baselines.NearestNeighbour(visible, labels, 4)
    yield baselines.NearestNeighbour(visible, labels, 4, metric="overlap")
    yield baselines.Binarised(small(dtype=torch.float32))


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("head", HEADS)
def test_baselines_are_models_too(number, head):
    model, pixels = list(others())[number], images(dtype=torch.float32).requires_grad_()
    logits = ImageClassifier(model, head)(pixels)
    assert logits.shape == (6, 4)
    assert logits.isfinite().all()
    if head != "tanh":
        visible = 2 * pixels.detach().flatten(1) - 1
        assert torch.equal(logits.argmax(dim=1), model.predict(visible))
    logits[:, 0].sum().backward()
    assert pixels.grad.isfinite().all()


def test_the_scale_of_a_single_class_is_1():
    assert logit_scale(torch.rand(5, 1)) == 1


def test_pixels_are_scaled_in_the_finer_of_both_types():
    model = small(dtype=torch.float32)
    pixels = torch.rand(200, *SHAPE, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float16, torch.bfloat16):
        coarse = pixels.to(dtype)
        fine = ImageClassifier(model)(coarse.float())
        assert torch.equal(ImageClassifier(model)(coarse), fine.to(dtype))
    seen = []
    model.exact_scores = lambda v: seen.append(v) or torch.zeros(len(v), 4, dtype=torch.float64)
    ImageClassifier(model)(pixels)
    ImageClassifier(model)(pixels.double() + 1e-9)
    assert torch.equal(seen[0], 2 * pixels.flatten(1) - 1)
    assert torch.equal(seen[1], (2 * (pixels.double() + 1e-9).flatten(1) - 1).float())

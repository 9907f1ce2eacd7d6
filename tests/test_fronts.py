"""Fronts: what they make of inputs, and that files, gradients and exports pass through them."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from tests.scans import STYLES, scans
from tests.training.small import SIDE, dataset, images, recipe, save_npz

import denseam
from denseam import fronts
from denseam.data.pixels import to_visible
from denseam.errors import FileFormatError, InputError
from denseam.fronts import Pixels, Table
from denseam.fronts.centring import centred


def pictures(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator) * 2 - 1


# ---- pixels --------------------------------------------------------------------------------------


def test_pictures_of_the_right_size_pass_as_they_are():
    v = pictures(3, 7, 5)
    torch.testing.assert_close(Pixels((7, 5), (7, 5))(v), v.flatten(1))
    torch.testing.assert_close(Pixels((7, 5), (7, 5))(v.flatten(1)), v.flatten(1))


def test_ink_on_paper_is_inverted_and_colours_become_grey():
    v = pictures(2, 3, 6, 6)
    grey = 0.299 * v[:, 0] + 0.587 * v[:, 1] + 0.114 * v[:, 2]
    torch.testing.assert_close(Pixels((3, 6, 6), (6, 6))(v), grey.flatten(1))
    torch.testing.assert_close(Pixels((3, 6, 6), (6, 6), invert=True)(v), -grey.flatten(1))


def test_proportions_are_kept_on_black_paper():
    v = torch.ones(1, 40, 20)
    out = Pixels((40, 20), (28, 28))(v).reshape(28, 28)
    assert out[:, 7:21].min() == pytest.approx(1, abs=1e-5)
    assert out[:, :7].max() == out[:, 21:].max() == -1


def test_resizing_is_that_of_pytorch():
    v = pictures(2, 56, 42)
    wanted = torch.nn.functional.interpolate(
        v[:, None], size=(28, 21), mode="bilinear", antialias=True, align_corners=False
    )[:, 0]
    out = Pixels((56, 42), (28, 28))(v).reshape(2, 28, 28)[:, :, 3:24]
    torch.testing.assert_close(out, wanted, atol=1e-5, rtol=0)


def test_a_crop_looks_at_that_part_alone():
    v = pictures(2, 9, 9)
    front = Pixels((9, 9), (4, 3), crop=(2, 5, 4, 3))
    torch.testing.assert_close(front(v), v[:, 2:6, 5:8].flatten(1))


def test_centring_puts_a_digit_where_mnist_has_it():
    mnist = denseam.data.load("mnist").test.subset(slice(0, 200))
    model = denseam.load_pretrained("mnist-n30")
    digits = mnist.visible().reshape(-1, 28, 28)
    scan = torch.full((200, 90, 70), -1.0)  # digits of twice the size, in a corner
    large = torch.nn.functional.interpolate(digits[:, None], scale_factor=2.0)[:, 0]
    scan[:, 30:86, 10:66] = large
    front = Pixels((90, 70), (28, 28), invert=True, centre=True)
    out = front(-scan)
    right = float((model.predict(out) == mnist.labels).double().mean())
    assert right >= 0.95
    blank = front(torch.ones(2, 90, 70))
    assert bool((blank == -1).all())


@pytest.mark.parametrize("name", STYLES)
def test_scans_of_many_styles_are_read_as_well_as_their_digits(name):
    mnist = denseam.data.load("mnist").test.subset(slice(0, 60))
    model = denseam.load_pretrained("mnist-n30")
    v = Pixels((200, 300), (28, 28), invert="auto", centre=True)(
        to_visible(scans(mnist.images, STYLES[name]))
    )
    right = float((model.predict(v) == mnist.labels).double().mean())
    assert right >= (0.95 if name == "thin" else 0.97)
    digits = mnist.visible()
    assert float((v - digits).abs().mean()) <= (0.14 if name in ("thin", "thick") else 0.1)


def test_blank_paper_has_no_ink():
    noise = 0.05 * torch.randn(3, 40, 60, generator=torch.Generator().manual_seed(0))
    for page in (torch.ones(3, 40, 60), torch.zeros(3, 40, 60), 0.2 + noise):
        assert bool((centred(page, (28, 28)) == -1).all())
    assert centred(torch.ones(0, 40, 60), (28, 28)).shape == (0, 28, 28)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (3, 2), (28, 28), (700, 20), (20, 700)])
def test_pages_of_any_size_have_their_ink_centred(size):
    page = torch.ones(1, *size)
    y, x = (max(0, side // 2 - 1) for side in size)
    page[:, y : y + 3, x : x + 3] = -1
    out = centred(page, (28, 28))
    assert bool(torch.isfinite(out).all())
    assert float(out.max()) == 1 or min(size) <= 3


def test_pages_are_centred_alone_as_in_a_batch(monkeypatch):
    pages = to_visible(scans(denseam.data.load("mnist").test.images[:5], STYLES["scan"]))
    together = centred(pages, (28, 28))
    alone = torch.cat([centred(page[None], (28, 28)) for page in pages])
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)
    monkeypatch.setattr("denseam.fronts.centring._PIXELS", 130_000)  # two at once
    torch.testing.assert_close(centred(pages, (28, 28)), together, atol=1e-5, rtol=0)


def test_light_paper_is_seen_by_its_border():
    ink = pictures(4, 9, 7).abs() / 4
    front = Pixels((9, 7), (9, 7), invert="auto")
    dark, light = -1 + ink, 1 - ink
    torch.testing.assert_close(front(torch.cat([dark, light])), torch.cat([dark, dark]).flatten(1))


@pytest.mark.parametrize("invert", [True, "auto"])
def test_gradients_reach_the_pixels_of_a_scan(invert):
    page = to_visible(scans(denseam.data.load("mnist").test.images[:2], STYLES["scan"]))
    front = Pixels((200, 300), (28, 28), invert=invert, centre=True).double()
    x = page.double().requires_grad_()
    weights = pictures(2, 784, seed=1).double()
    (gradient,) = torch.autograd.grad((front(x) * weights).sum(), x)
    assert bool((gradient.flatten(1).norm(dim=1) > 0).all())
    row, column = divmod(int(gradient[0].abs().argmax()), 300)
    ends = []
    for step in (1e-6, -1e-6):  # too small to move where the ink is
        moved = page.double().clone()
        moved[0, row, column] += step
        ends.append(float((front(moved) * weights).sum()))
    slope = (ends[0] - ends[1]) / 2e-6
    assert float(gradient[0, row, column]) == pytest.approx(slope, rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((4, 5, 6),), r"input_shape = \(4, 5, 6\): wanted \(H, W\) or \(3, H, W\)"),
        (((5,),), "input_shape"),
        (((5, 5), (4,)), "shape"),
        (((5, 0),), "input_shape = 0"),
    ],
)
def test_impossible_pictures_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Pixels(*arguments)


@pytest.mark.parametrize("crop", [(0, 0, 6, 2), (4, 4, 2, 1), (0, 0, 0, 1), (0, 0, 1)])
def test_a_crop_beyond_the_picture_is_refused(crop):
    with pytest.raises(InputError, match="crop"):
        Pixels((5, 5), (3, 3), crop=crop)


# ---- tables --------------------------------------------------------------------------------------


def test_a_table_lies_on_a_sphere_in_the_cube():
    X = torch.tensor(np.random.default_rng(0).normal(size=(200, 5)) ** 3 + 7)
    front = Table.fit(X)
    v = front(X)
    assert v.shape == (200, front.n_visible)
    assert v.abs().max() <= 1
    torch.testing.assert_close(v.square().sum(dim=1), torch.full((200,), front.radius).double())
    assert front(1e6 * X).abs().max() == 1


def test_constant_features_say_nothing():
    X = torch.tensor([[1.0, 5.0], [2.0, 5.0], [4.0, 5.0]])
    front = Table.fit(X)
    assert float(front.factor[1]) == 0
    other = X.clone()
    other[:, 1] = 1e9
    assert torch.equal(front(X), front(other))


@pytest.mark.parametrize("offset", [0.0, 1e9, -1e12, 3e13, 1e15])
@pytest.mark.parametrize("unit", [1.0, 1e-300, 1e150])
def test_a_table_may_have_any_offset_and_unit(offset, unit):
    """Only what is equal but for its rounding is constant."""
    X = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)).double()
    X[:, 2] = 0.1
    X[::2, 2] = 0.3 - 0.2  # the next float
    expected = Table.fit(X.round(decimals=1))
    front = Table.fit(unit * (X.round(decimals=1) + offset))
    assert front.factor[2] == 0
    assert (front.factor[:2] * unit / expected.factor[:2] - 1).abs().max() < 0.05
    seen, plain = front(unit * (X + offset)), expected(X)
    assert (seen[:, :2] - plain[:, :2]).abs().max() < 0.1  # 1e15 has no tenths
    halves = Table.of_chunks(lambda: (unit * (X.round(decimals=1) + offset)).split(200))
    torch.testing.assert_close(halves.factor, front.factor)


def test_a_table_keeps_an_offset_that_float32_has():
    X = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)) + 2.0**20
    torch.testing.assert_close(Table.fit(X)(X), Table.fit(X)(X.double()).float())


# ---- through everything --------------------------------------------------------------------------


def with_front(front, n_visible, seed=0):
    return denseam.DenseAM(n_visible, 3, 12, 4, 20.0, front=front, seed=seed)


@pytest.mark.parametrize(
    "front",
    [Pixels((3, 9, 7), (5, 5), invert=True, crop=(1, 0, 8, 6)), Table(21, 2, 3.0)],
    ids=lambda front: front.name,
)
def test_a_front_survives_the_file_and_has_no_code_in_it(front, tmp_path):
    model = with_front(front, front.n_visible)
    if isinstance(front, Table):
        front.mean += 3
        front.factor /= 7
    x = pictures(4, *front.input_shape)
    model.save(tmp_path / "m.safetensors")
    loaded = denseam.load(tmp_path / "m.safetensors")
    assert type(loaded.front) is type(front)
    assert loaded.n_inputs == front.n_inputs
    assert torch.equal(loaded.log_energy(x), model.log_energy(x))
    assert torch.equal(loaded.predict(x.flatten(1)), model.predict(x))


def test_gradients_reach_what_the_user_has():
    front = Pixels((9, 7), (5, 5), invert=True)
    model = with_front(front, 25).double()
    x = pictures(3, 9, 7).double().requires_grad_()
    scores = model.log_energy(x)
    (gradient,) = torch.autograd.grad(scores[:, 0].sum(), x)
    oracle = denseam.energy.log_energy(front(x), model.memories.detach(), 4)
    (wanted,) = torch.autograd.grad(oracle[:, 0].sum(), x)
    torch.testing.assert_close(gradient, wanted)
    head = model.head(torch.Size([9, 7]), "log_energy")(x.detach().flatten(1))
    weights = torch.zeros_like(head.values)
    weights[:, 0] = 1
    pulled = head.pull(weights).reshape(3, -1)
    cosine = torch.nn.functional.cosine_similarity(pulled, wanted.flatten(1))
    torch.testing.assert_close(cosine, torch.ones(3, dtype=torch.float64))


@pytest.mark.filterwarnings("ignore::denseam.DenseAMWarning")  # a preset for MNIST
def test_attacks_move_what_the_user_has(tmp_path):
    front = Pixels((5, 5), (5, 5), invert=True)
    result = denseam.train(recipe(3, 20), dataset(), tmp_path / "run", front=front)
    v, labels = images(seed=3).visible(), images(seed=3).labels
    assert float((result.model.predict(v) == labels).double().mean()) > 0.8
    crossed = denseam.cross_boundary(result.model, v[:6], step=0.05)
    assert crossed.images.shape == (6, 25)
    assert bool(crossed.success.any())
    assert denseam.evaluate(denseam.load(tmp_path / "run"), images(seed=3)).error < 0.2
    logits = denseam.ImageClassifier(result.model)(images(seed=3).images[:4].float()[:, None] / 255)
    assert logits.shape == (4, 3)


@pytest.mark.parametrize("takes", ["images", "visible"])
@pytest.mark.parametrize(
    "front",
    [
        Pixels((6, 4), (5, 5), invert=True, crop=(1, 0, 5, 4)),
        Table.fit(torch.rand(30, 24, generator=torch.Generator().manual_seed(1))),
    ],
    ids=lambda front: front.name,
)
def test_an_exported_front_says_the_same(front, takes, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    from denseam.interop import export_onnx

    model = with_front(front, front.n_visible)
    path = tmp_path / "m.onnx"
    export_onnx(model, path, takes=takes, shape=(6, 4))
    session = onnxruntime.InferenceSession(path)
    v = pictures(5, 24)
    inputs = (v / 2 + 0.5).reshape(5, 1, 6, 4) if takes == "images" else v
    logits, labels = session.run(["logits", "label"], {takes: inputs.numpy()})
    exact = torch.log_softmax(model.exact_scores(v), dim=1)
    torch.testing.assert_close(torch.from_numpy(logits), exact.float().detach(), atol=1e-4, rtol=0)
    assert labels.tolist() == model.predict(v).tolist()


def test_a_table_without_scaling_is_classified_by_the_estimator():
    from denseam.sklearn import DenseAMClassifier

    X, y = load_iris(return_X_y=True)
    estimator = DenseAMClassifier(max_iter=20, random_state=0).fit(X, y)
    model = estimator.model_
    assert isinstance(model.front, Table)
    assert (model.predict(torch.from_numpy(X)).numpy() == estimator.predict(X)).all()


# ---- what does not fit ---------------------------------------------------------------------------


def test_a_front_that_files_do_not_know_is_not_saved(tmp_path):
    model = denseam.DenseAM(4, 3, 5, 3, 2.0, front=torch.nn.Linear(7, 4))
    with pytest.raises(InputError, match="a front of type Linear is not saved: wanted pixels, tab"):
        model.save(tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


def test_inputs_that_the_front_does_not_take_are_refused():
    model = with_front(Pixels((9, 7), (5, 5)), 25)
    with pytest.raises(InputError, match=r"inputs have shape \(3, 25\): wanted "):
        model.predict(pictures(3, 25))
    with pytest.raises(InputError, match="NaN or infinite"):
        model.predict(torch.full((1, 9, 7), torch.nan))
    with pytest.raises(InputError, match=r"the front takes 63 numbers, toy has 25"):
        denseam.train(recipe(), dataset(), front=Pixels((9, 7), (5, 5)))


def test_a_front_of_a_later_version_is_refused(tmp_path, monkeypatch):
    model = with_front(Table(4), 5)
    model.save(tmp_path / "m.safetensors")
    monkeypatch.delitem(fronts.FRONTS, "table")
    with pytest.raises(FileFormatError, match="front = 'table'"):
        denseam.load(tmp_path / "m.safetensors")


def test_the_command_line_trains_behind_the_front_of_tables(tmp_path):
    from denseam.cli import main

    save_npz(tmp_path / "toy.npz")
    options = ["--power", "3", "--epochs", "2", "--n-memories", "12", "--per-class", "5"]
    command = ["train", *options, "--dataset", str(tmp_path / "toy.npz"), "--front", "table"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 0
    model = denseam.load(tmp_path / "run")
    assert isinstance(model.front, Table)
    torch.testing.assert_close(model.front.mean, images().visible().double().mean(dim=0))


@pytest.mark.filterwarnings("ignore::denseam.DenseAMWarning")  # a preset for MNIST
def test_analysis_and_audit_look_through_the_front():
    front = Pixels((SIDE, SIDE), (2 * SIDE, 2 * SIDE))
    model = denseam.train(recipe(3, 20), dataset(), front=front).model
    test = images(30, seed=2)
    seen = front(test.visible())
    memories = model.visible_memories.detach()
    similar = np.corrcoef(memories.numpy(), seen.numpy())[: len(memories), len(memories) :]
    statistics = denseam.memory_statistics(model, test, test)
    assert statistics.prototype_mean == pytest.approx(similar.max(axis=1).mean(), abs=1e-5)
    assert statistics.contributors[0] == 0
    audit = denseam.analysis.audit(model, test, queries=20)
    assert audit.checks
    assert model.explain(test.visible()[0]).visible.shape == (4 * SIDE * SIDE,)

"""ONNX files say what the models say: in onnxruntime, against the paper's equations in float64."""

import sys
from itertools import product

import pytest
import torch

import denseam
from denseam import DenseAM, ImageClassifier, baselines, energy
from denseam.classifier import HEADS, Classifier
from denseam.errors import InputError, MissingPackageError, SaveError
from denseam.interop import export_onnx

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

N, C, K, SHAPE = 20, 4, 33, (1, 4, 5)


@pytest.fixture
def exported(tmp_path):
    """Exports a model; returns a function from images or visible to logits and labels."""

    def export(model, *args, **options):
        path = tmp_path / "model.onnx"
        export_onnx(model, path, *args, **options)
        session = onnxruntime.InferenceSession(path)
        (given,) = (each.name for each in session.get_inputs())

        def call(batch):
            found = session.run(["logits", "label"], {given: batch.numpy()})
            return [torch.from_numpy(each) for each in found]

        return call

    return export


def dense(power=3, dtype=torch.float64, temperature=5.0):
    return DenseAM(N, C, K, power, temperature, seed=1, dtype=dtype)


def pixels(count=7, dtype=torch.float64):
    return torch.rand(count, *SHAPE, dtype=dtype)


def networks(dtype):
    """One of every kind."""
    visible, labels = 2 * torch.rand(K, N, dtype=dtype) - 1, torch.arange(K) % C
    radial = baselines.RBFNetwork(N, C, K, temperature=3.0, seed=1, dtype=dtype)
    radial.at_images(visible, labels, seed=1)
    return {
        "dam": dense(dtype=dtype),
        "exponential": baselines.ExponentialAM(N, C, K, 4.5, 5.0, seed=1, dtype=dtype),
        "relu": baselines.ReLUNetwork(N, C, K, temperature=2.0, seed=1, dtype=dtype),
        "polynomial": baselines.PolynomialNetwork(N, C, K, 4.5, 2.0, seed=1, dtype=dtype),
        "rbf": radial,
        "nearest": baselines.NearestNeighbour(visible, labels, C),
        "overlap": baselines.NearestNeighbour(visible, labels, C, metric="overlap"),
        "binarised": baselines.Binarised(dense(5, dtype), threshold=0.2),
        "binarised rbf": baselines.Binarised(radial),
    }


@pytest.mark.parametrize("name", ["mnist-n2", "mnist-n3", "mnist-n20", "mnist-n30"])
def test_labels_agree_on_all_test_images_and_logits_are_exact(name, exported):
    test = denseam.data.load("mnist").test
    model = denseam.load_pretrained(name)
    call = exported(model)
    images = (test.images.float() / 255)[:, None]
    # Parts of 2000 keep fields of 16 MB; the batch is free.
    logits, labels = (torch.cat(each) for each in zip(*map(call, images.split(2000)), strict=True))
    wanted = model.predict(test.visible())
    assert int((labels != wanted).sum()) == 0
    assert int((logits.argmax(dim=1) != wanted).sum()) == 0
    few = slice(0, 10_000, 100)
    memories = model.memories.detach().double()
    logs = energy.log_energy(test.visible(torch.float64)[few], memories, model.power)
    exact = torch.log_softmax(logs, dim=1)
    assert float((logits[few].double() - exact).abs().max()) < 5e-6


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("power", [1, 2, 3, 3.5, 20, 30, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_dense_memory_is_that_of_the_paper(power, head, dtype, exported):
    model, images = dense(power, dtype, temperature=15.0), pixels(dtype=dtype)
    logits, labels = exported(model, head, shape=SHAPE[1:])(images)
    visible, memories = 2 * images.flatten(1) - 1, model.memories.detach()
    assert labels.dtype is torch.int64
    assert torch.equal(labels, model.predict(visible))
    assert logits.dtype is dtype
    visible, memories = visible.double(), memories.double()
    gap = energy.energy_gap(visible, memories, power, 15.0)
    wanted = {
        "log_energy": torch.log_softmax(energy.log_energy(visible, memories, power), dim=1),
        "energy_gap": gap,
        "tanh": torch.tanh(gap),
    }[head]
    # Fields and powers of float32: n roundings of 6e-8, of a difference of two sums.
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-10}[dtype]
    torch.testing.assert_close(logits.double(), wanted, rtol=tolerance, atol=tolerance * 1e-2)


@pytest.mark.parametrize("takes", ["images", "visible"])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_network_says_what_it_says_here(head, dtype, takes, exported):
    for name, model in networks(dtype).items():
        call = exported(model, head, takes=takes, shape=SHAPE[1:] if takes == "images" else None)
        images = pixels(dtype=dtype)
        visible = 2 * images.flatten(1) - 1
        logits, labels = call(images if takes == "images" else visible)
        assert torch.equal(labels, model.predict(visible)), name
        with torch.no_grad():
            wanted = ImageClassifier(model, head)(images)
        tolerance = 2e-5 if dtype is torch.float32 else 1e-10
        torch.testing.assert_close(
            logits, wanted, rtol=tolerance, atol=tolerance,
            msg=lambda text, name=name: f"{name}: {text}",
        )  # fmt: skip


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("head", HEADS)
def test_pixels_that_are_no_numbers_make_logits_that_are_none(head, value, exported):
    for name, model in networks(torch.float32).items():
        visible = 2 * pixels(dtype=torch.float32).flatten(1) - 1
        call = exported(model, head, takes="visible")
        wanted, _ = call(visible)
        visible[3, 5] = value
        logits, _ = call(visible)
        rest = [0, 1, 2, 4, 5, 6]
        assert torch.equal(logits[rest], wanted[rest]), name
        if value is torch.nan or name.startswith("binarised"):
            assert bool(logits[3].isnan().all()), name


@pytest.mark.parametrize("batch", [0, 1, 2, 131])
def test_a_batch_is_of_any_size(batch, exported):
    for name, model in networks(torch.float64).items():
        call = exported(model, "energy_gap", shape=SHAPE[1:])
        images = pixels(batch)
        logits, labels = call(images)
        assert (logits.shape, labels.shape) == ((batch, C), (batch,)), name
        alone = [call(image[None])[0] for image in images]
        together = torch.cat(alone) if alone else images.new_empty(0, C)
        torch.testing.assert_close(logits, together, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("n_visible", "n_classes", "n_memories"), [(1, 1, 1), (7, 1, 3), (13, 9, 2)]
)
def test_odd_sizes(n_visible, n_classes, n_memories, exported):
    model = DenseAM(n_visible, n_classes, n_memories, 4, 2.0, seed=3, dtype=torch.float64)
    visible = 2 * torch.rand(5, n_visible, dtype=torch.float64) - 1
    for head in HEADS:
        logits, labels = exported(model, head)(visible.reshape(5, 1, 1, n_visible) / 2 + 0.5)
        with torch.no_grad():
            wanted = ImageClassifier(model, head)(visible / 2 + 0.5)
        torch.testing.assert_close(logits, wanted)
        assert torch.equal(labels, model.predict(visible))


@pytest.mark.parametrize("power", [1, 2.5, 30, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("head", HEADS)
def test_images_without_active_memories_have_finite_logits(head, dtype, power, exported):
    for temperature in (1e-3, 1e3):
        model = dense(power, dtype, temperature)
        with torch.no_grad():
            model.memories.fill_(1.0)
            model.memories[0, -1] = -1.0
        images = torch.stack([torch.full(SHAPE, x, dtype=dtype) for x in (0, 0.49, 0.5, 1.0)])
        logits, labels = exported(model, head, shape=SHAPE[1:])(images)
        assert bool(logits.isfinite().all())
        assert torch.equal(labels, model.predict(2 * images.flatten(1) - 1))
        with torch.no_grad():
            wanted = ImageClassifier(model, head)(images)
        torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gap_of_nothing_is_0_at_any_temperature(dtype, exported):
    model = dense(100, dtype, 1e-3)
    with torch.no_grad():
        model.memories[:, N] = 0.0  # class 0 switched on is as if it were off
    logits, _ = exported(model, "energy_gap", shape=SHAPE[1:])(pixels(dtype=dtype))
    assert not logits[:, 0].any()
    assert bool(logits.isfinite().all())


def test_memories_that_are_on_only_while_all_neurons_are_off(exported):
    """on = 2 and off = 4: the ratio of their powers, 2^200, is beyond float32."""
    model = DenseAM(3, 4, 2, 200, 4.0)
    with torch.no_grad():
        model.memories[:, :3], model.memories[:, 3:] = 0.0, -1.0
    logits, _ = exported(model, "energy_gap", takes="visible")(torch.ones(1, 3))
    torch.testing.assert_close(logits, torch.full((1, 4), -2.0))


def test_a_class_far_below_the_best_keeps_its_logit(exported):
    """(h / largest h)^100 of the weaker one is 1e-74, which float32 does not have."""
    model = DenseAM(8, 2, 2, 100, 1.0)
    with torch.no_grad():
        model.memories.zero_()
        model.memories[:, :2] = torch.tensor([[0.5, 0.1], [0.1, 0.5]])
        model.memories[:, 8:] = torch.tensor([[1.0, -1.0], [-0.1, 0.1]])
    visible = torch.ones(1, 8)
    logits, _ = exported(model, takes="visible")(visible)
    logs = energy.log_energy(visible.double(), model.memories.detach().double(), 100)
    wanted = torch.log_softmax(logs, dim=1)
    assert wanted.min() < -100
    torch.testing.assert_close(logits.double(), wanted, rtol=1e-5, atol=1e-5)


def test_classes_without_a_neighbour_come_last(exported):
    visible = 2 * torch.rand(9, N) - 1
    model = baselines.NearestNeighbour(visible, torch.arange(9) % 2, 2)
    model.n_classes, model.counts = 3, [*model.counts, 0]
    _, labels = exported(model, takes="visible")(visible)
    assert torch.equal(labels, torch.arange(9) % 2)
    gaps, _ = exported(model, "energy_gap", takes="visible")(visible)
    assert torch.equal(gaps[:, 2], torch.full((9,), torch.finfo(torch.float32).min))


def test_the_file_says_which_model_it_is(tmp_path):
    facts = []
    for model in (dense(), dense(), dense(4), baselines.Binarised(dense(), threshold=0.5)):
        export_onnx(model, tmp_path / "a.onnx", "tanh")
        made = onnx.load(tmp_path / "a.onnx")
        facts.append({entry.key: entry.value for entry in made.metadata_props})
        assert (made.producer_name, made.producer_version) == ("denseam", denseam.__version__)
    first, again, other, hard = facts
    assert first == again
    assert (first["network"], first["power"], first["temperature"]) == ("dam", "3.0", "5.0")
    assert (first["denseam"], first["head"]) == (denseam.__version__, "tanh")
    assert len(first["sha256"]) == 64
    assert other["power"] == "4.0"
    assert hard == {**first, "binarised_at": "0.5"}
    moved = dense()
    with torch.no_grad():
        moved.memories[0, 0] += 1e-9
    export_onnx(moved, tmp_path / "a.onnx", "tanh")
    made = onnx.load(tmp_path / "a.onnx")
    assert {e.key: e.value for e in made.metadata_props}["sha256"] != first["sha256"]


def test_the_same_model_is_the_same_bytes_and_inputs_have_names_and_sizes(tmp_path):
    for name in ("a", "b"):
        export_onnx(dense(dtype=torch.float32), tmp_path / name, shape=(4, 5))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    session = onnxruntime.InferenceSession(tmp_path / "a")
    ((name, shape, kind),) = [(i.name, i.shape, i.type) for i in session.get_inputs()]
    assert (name, shape, kind) == ("images", ["batch", 1, 4, 5], "tensor(float)")
    outputs = [(o.name, o.shape, o.type) for o in session.get_outputs()]
    assert outputs == [
        ("logits", ["batch", C], "tensor(float)"), ("label", ["batch"], "tensor(int64)"),
    ]  # fmt: skip


def test_memories_stand_in_the_file_once(tmp_path):
    for model in networks(torch.float64).values():
        export_onnx(model, tmp_path / "a.onnx", takes="visible")
        made = onnx.load(tmp_path / "a.onnx")
        sizes = [len(each.raw_data) for each in made.graph.initializer]
        assert sum(size >= 8 * N for size in sizes) >= 1
        largest = model.memories.numel() * model.memories.element_size()
        assert sum(sizes) < 1.6 * largest


def test_what_stood_there_stays_when_it_cannot_be_written(tmp_path):
    with pytest.raises(SaveError, match="could not be written"):
        export_onnx(dense(), tmp_path / "no" / "a.onnx")
    (tmp_path / "a.onnx").write_bytes(b"before")
    with pytest.raises(InputError):
        export_onnx(dense(), tmp_path / "a.onnx", shape=(3, 3))
    assert (tmp_path / "a.onnx").read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]


class Unknown(Classifier):
    kind = "unknown"
    initial = (0.0, 0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": torch.nn.Linear(3, 2)}, "wanted a network of denseam, got Linear"),
        ({"model": Unknown(4, 2, 3, 2, 1.0)}, "kind 'unknown' has no ONNX graph"),
        ({"model": dense().bfloat16()}, "memories are torch.bfloat16: wanted float32 or float64"),
        ({"head": "softmax"}, "head = 'softmax': wanted 'log_energy'"),
        ({"takes": "bytes"}, "takes = 'bytes': wanted 'images' or 'visible'"),
        ({"shape": (3, 5)}, r"shape \(3, 5\) does not fit 20 pixels"),
        ({"shape": (-4, -5)}, "shape = -4: wanted a whole number >= 1"),
    ],
)
def test_anything_else_is_refused(change, message, tmp_path):
    given = {"model": dense(), "path": tmp_path / "a.onnx", **change}
    with pytest.raises(InputError, match=message):
        export_onnx(**given)
    assert not list(tmp_path.iterdir())


def test_without_onnx_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'denseam\[onnx\]'"):
        export_onnx(dense(), tmp_path / "a.onnx")


def test_a_model_that_a_file_cannot_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("denseam.interop.onnx._LIMIT", 100)
    for model, takes in product((dense(), baselines.Binarised(dense())), ("images", "visible")):
        with pytest.raises(InputError, match="holds up to 2 GB"):
            export_onnx(model, tmp_path / "a.onnx", takes=takes)


def test_a_polynomial_network_whose_neurons_leave_the_range_keeps_its_label(exported):
    model = baselines.PolynomialNetwork(N, C, K, 30.0, 1e-2, seed=1, dtype=torch.float32)
    batch = pixels(12, torch.float32)
    visible = 2 * batch.flatten(1) - 1
    logits, label = exported(model, "energy_gap", shape=(4, 5))(batch)
    assert logits.isfinite().all()
    assert torch.equal(label, model.predict(visible))
    assert len(label.unique()) > 1

"""Convolutions before memories, and memories that are patches: against loops and the paper."""

import re

import pytest
import torch
from tests.training.small import CLASSES, SIDE, dataset, images

import denseam
from denseam import Guard, Recipe, energy, fit_recipe, load, train
from denseam.baselines import NETWORKS
from denseam.convolutional import ConvFrontAM, ConvolutionalAM
from denseam.data import Dataset, ImageSet
from denseam.errors import InputError
from denseam.fronts import Convolutional, Table
from denseam.kernels import CrossEntropy, Paper, by_name
from denseam.mesh import Mesh
from denseam.training.learner import Learner
from denseam.training.scale import front_of, unit_temperature

KINDS = {"conv-front": 20.0, "conv-dam": 20.0, "cnn": None}
LEVELS = {"conv-front": "8x2,16", "conv-dam": "8x2", "cnn": "8x2,16"}
POWERS = [1, 2, 3, 4.5, 20, 60]


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2 - 1


def recipe(network, epochs=8, **fields):
    sizes = {"n_memories": 40, "per_class": 5, "levels": LEVELS[network], **fields}
    return fit_recipe(images(), KINDS[network], epochs, network=network, **sizes)


# ---- the front -----------------------------------------------------------------------------------


def level_by_loops(x, weight, bias, pool, power):
    """Return a level of ``Convolutional`` as its docstring has it, (B, c, H, W) each."""
    k = weight.shape[-1]
    rows, columns = ((side - k + 1) // pool for side in x.shape[-2:])
    out = torch.empty(len(x), len(weight), rows, columns, dtype=x.dtype)
    for i in range(rows):
        for j in range(columns):
            fields = torch.stack([
                torch.einsum("bcij,ocij->bo", x[:, :, r : r + k, s : s + k], weight) + bias
                for r in range(i * pool, (i + 1) * pool)
                for s in range(j * pool, (j + 1) * pool)
            ]).clamp(min=0)  # fmt: skip
            if power is None:
                out[:, :, i, j] = fields.amax(dim=0)
            else:
                out[:, :, i, j] = ((fields**power).mean(dim=0) + 1e-6) ** (1 / power)
    mean = out.mean(dim=(1, 2, 3), keepdim=True)
    return (out - mean) / (out.var(dim=(1, 2, 3), keepdim=True, unbiased=False) + 1e-6).sqrt()


@pytest.mark.parametrize("power", [1, 2, 3.5, None])
@pytest.mark.parametrize("shape", [(13, 11), (3, 12, 9)])
def test_the_front_is_what_its_equation_says(shape, power):
    front = Convolutional(shape, "5x3/2,4x2/2,7", power=power, seed=3).double()
    for bias in front.biases:
        bias.data = noise(*bias.shape, seed=2) / 5
    v = noise(3, *shape)
    x = v.reshape(3, -1, *shape[-2:])
    for weight, bias in zip(front.weights[:2], front.biases[:2], strict=True):
        x = level_by_loops(x, weight, bias, 2, power)
    assert x.shape[1:] == front.map_shape
    x = x.flatten(1) @ front.weights[2].T + front.biases[2]
    x = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-6).sqrt()
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if power == 1 else {}  # 1e-6 under a root of 1
    torch.testing.assert_close(front(v), torch.tanh(x), **tolerance)
    torch.testing.assert_close(front(v.flatten(1)), front(v), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("shape", "levels", "message"),
    [
        ((28, 28), "16x5/2,32x15/2", "level 2 looks at 15 x 15 places .* wanted maps of at least"),
        ((5, 5), "16x5/2", "pools 2 x 2: wanted maps of at least 6 x 6, got 5 x 5"),
        ((784,), "16x5/2", r"input_shape = \(784,\): wanted \(H, W\) or \(channels, H, W\)"),
        ((28, 28), "16x0/2", "levels = '16x0/2': wanted CHANNELSxKERNEL/POOL"),
        ((28, 28), "256", "levels = '256': wanted"),
        ((28, 28), "", "levels = '': wanted"),
        ((28, 28), 16, "levels = 16: wanted"),
    ],
)
def test_levels_that_do_not_fit_are_refused(shape, levels, message):
    with pytest.raises(InputError, match=message):
        Convolutional(shape, levels)


# ---- memories that are patches -------------------------------------------------------------------


def convolutional(power, patch="3/2", dtype=torch.float64, **options):
    model = ConvolutionalAM(
        2 * 7 * 8, 4, 9, power, 3.0, patch=patch, shape=(2, 7, 8), seed=1, dtype=dtype, **options
    )
    model.memories.data = noise(*model.memories.shape, seed=4).to(dtype)
    return model


def pairs(model, v):
    """Return what pairs of memory and place are for the equations of the paper, image by image.

    Their fields with every class are those of memories that see one patch each.
    """
    side, stride = model.patch_shape[0], model.stride
    maps = v.reshape(-1, *model.map_shape)
    corners = [
        (i, j)
        for i in range(0, maps.shape[2] - side + 1, stride)
        for j in range(0, maps.shape[3] - side + 1, stride)
    ]
    patches = [maps[:, :, i : i + side, j : j + side].flatten(1) for i, j in corners]
    on, off = zip(*[energy.fields(patch, model.memories) for patch in patches], strict=True)
    return torch.cat(on, dim=1), torch.cat(off, dim=1)  # (B, P * K, C), (B, P * K)


@pytest.mark.parametrize("patch", ["3/2", "3", "5/3", "2/5"])
@pytest.mark.parametrize("power", POWERS)
def test_energies_are_the_papers_summed_over_places(power, patch):
    model, v = convolutional(power, patch), noise(5, 112, seed=7).requires_grad_()
    on, off = pairs(model, v)
    F, T = model.energy, model.temperature
    gap = (F.ratio(on, T) - F.ratio(off, T)[:, :, None]).sum(dim=1)
    logs = torch.logsumexp(F.log(on), dim=1)
    torch.testing.assert_close(model.energy_gap(v), gap)
    torch.testing.assert_close(model.log_energy(v), logs)
    torch.testing.assert_close(model.exact_scores(v), logs)
    assert model.predict(v).tolist() == gap.argmax(dim=1).tolist()
    upstream = noise(5, 4, seed=8)
    for ours, theirs in ((model.energy_gap(v), gap), (model.log_energy(v), logs)):
        sums = [(upstream * each).sum() for each in (ours, theirs)]
        mine, papers = (
            torch.autograd.grad(each, (v, model.memories), retain_graph=True) for each in sums
        )
        torch.testing.assert_close(mine, papers)
    single = convolutional(power, patch, torch.float32)
    assert single.predict(v.detach().float()).tolist() == model.predict(v).tolist()


def test_one_place_is_a_dense_associative_memory():
    model = convolutional(20, patch="")
    flat = denseam.DenseAM(112, 4, 9, 20, 3.0, dtype=torch.float64)
    flat.memories.data = model.memories.data
    v = noise(6, 112, seed=3)
    torch.testing.assert_close(model.log_energy(v), flat.log_energy(v))
    torch.testing.assert_close(model.contributions(v), flat.contributions(v))
    labels = model.predict(v)
    torch.testing.assert_close(model.winner_distances(v, labels), flat.winner_distances(v, labels))


def test_explanations_name_the_memory_and_the_place():
    model, v = convolutional(20), noise(1, 112, seed=5)
    explained = model.explain(v, count=4)
    on = pairs(model, v)[0].detach()
    label, K, P = int(model.predict(v)), model.n_memories, model.n_places
    terms = torch.exp(model.energy.log(on[0, :, label]) - model.exact_scores(v).detach()[0, label])
    terms = terms.reshape(P, K)
    assert P == 9
    votes = explained.predicted
    for memory, place, share in zip(
        *(x.tolist() for x in (votes.positions, votes.places, votes.shares)), strict=True
    ):
        row, column = model.where(place)
        assert share == pytest.approx(float(terms[row // 2 * 3 + column // 2, memory]))
    torch.testing.assert_close(votes.visible, model.visible_memories[votes.positions].detach())
    assert [each["place"] for each in votes.to_json()["memories"]] == votes.places.tolist()
    _, shares = model.contributions(v)
    summed = terms.sum(dim=0)
    torch.testing.assert_close(shares[:, 0], (summed / summed.max()).detach())
    largest = int(terms.argmax())
    seen = model.patches(v)[largest // K]
    distance = (seen - model.visible_memories[largest % K]).norm().detach()
    assert float(model.winner_distances(v, model.predict(v))) == pytest.approx(float(distance))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": "9"}, "patch = '9': memories of 9 x 9 see no place of a map of 7 x 8"),
        ({"patch": "3/0"}, "patch = '3/0': wanted SIDE/STRIDE"),
        ({"patch": 3}, "patch = 3: wanted SIDE/STRIDE"),
        ({"shape": (7, 8)}, r"shape = \(7, 8\): wanted .* of 112 numbers"),
    ],
)
def test_patches_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        ConvolutionalAM(112, 4, 9, 3, 3.0, **{"shape": (2, 7, 8), **options})


# ---- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", [CrossEntropy(0.7), Paper(2.0)])
@pytest.mark.parametrize("network", KINDS)
def test_the_gradient_of_a_batch_reaches_the_front(network, objective):
    small = recipe(network, dtype="float64", seed=2)
    front = front_of(small, images())
    learner = Learner(small, images(), torch.device("cpu"), Mesh(), front=front)
    model = learner.model
    if isinstance(objective, Paper):
        model.temperature = unit_temperature(model, images(), 0)  # where tanh has a slope
    rows = torch.arange(12)
    neurons, labels = learner._batch(rows, 0, 0)
    ours, outcome = model._gradient(by_name("reference"), neurons, labels, objective, Mesh())
    fronts = [parameter.grad for parameter in model.front.parameters()]
    v = images().inputs(torch.float64)[rows]
    value = objective.value(model.scores(v, objective.head).double(), labels)
    parameters = [model.memories, *model.front.parameters()]
    expected = torch.autograd.grad(value, parameters)
    torch.testing.assert_close([ours, *fronts], [*expected], rtol=1e-6, atol=1e-9)
    assert float(outcome.objective) == pytest.approx(float(value.detach()))
    assert outcome.predicted.tolist() == model.predict(v).tolist()
    assert len(expected) > 2
    assert all(float(each.abs().max()) > 1e-4 for each in expected)


@pytest.mark.filterwarnings("ignore::denseam.DenseAMWarning")
@pytest.mark.parametrize("network", KINDS)
def test_a_tiny_problem_is_learned_and_used_through_everything(network, tmp_path):
    result = train(recipe(network, 60), dataset())
    assert result.records[-1].test_error <= 0.1
    test, model = images(seed=1), result.model
    v, labels = test.visible(), test.labels
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert type(loaded) is NETWORKS[network]
    largest = loaded.energy_gap(dataset().train.visible()).abs().amax(dim=1)
    assert float(largest.detach().median()) == pytest.approx(1, rel=0.2)  # tanh tells classes apart
    assert torch.equal(loaded.log_energy(v), model.log_energy(v))
    model.save(tmp_path / "small", dtype=torch.float16)
    assert (tmp_path / "small").stat().st_size < 0.8 * (tmp_path / "model").stat().st_size
    assert float((load(tmp_path / "small").predict(v) == labels).double().mean()) > 0.9
    assert bool(denseam.basic_iterative(loaded, v, labels, eps=1.0).success.any())
    guard = Guard(loaded, loaded).calibrate(test, target_rejection=0.25)
    assert guard.predict(test).labels.shape == (len(test),)


@pytest.mark.parametrize("fields", [{}, {"average": 1.0, "shift": 0.5}, {"keep": "best"}])
@pytest.mark.parametrize("network", KINDS)
def test_an_interrupted_run_goes_on_to_the_same_bits(network, fields, tmp_path):
    class Stop(denseam.Callback):
        def on_epoch(self, record):
            if record.epoch == 1:
                raise KeyboardInterrupt

    small = recipe(network, 4, **fields)
    whole = train(small, dataset(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(small, dataset(), tmp_path / "run", callbacks=[Stop()])
    again = train(small, dataset(), tmp_path / "run")
    loaded = load(tmp_path / "run")
    expected = whole.model.state_dict()
    for model in (again.model, loaded):
        for name, tensor in model.state_dict().items():
            if isinstance(tensor, torch.Tensor):
                assert torch.equal(tensor, expected[name]), name


def test_a_run_begins_from_a_model_with_its_front_which_stays_as_it_is():
    first = train(recipe("conv-front", 3), dataset()).model
    before = first.front.weights[0].detach().clone()
    small = recipe("conv-front", 1, learning_rate=1e-9, front_rate=1e-12)
    again = train(small, dataset(), start=first, front=first.front).model
    torch.testing.assert_close(again.front.weights[0], before, rtol=0, atol=1e-7)
    train(recipe("conv-front", 1), dataset(), start=first, front=first.front)
    assert torch.equal(first.front.weights[0], before)


@pytest.mark.filterwarnings("ignore::denseam.DenseAMWarning")
def test_pictures_in_colour_are_trained_attacked_and_predicted(tmp_path):
    grey = images(60)
    values = torch.stack([grey.images, 255 - grey.images, grey.images // 2], dim=1)
    colour = ImageSet(values, grey.labels, n_classes=CLASSES, name="colour")
    fields = {"n_memories": 15, "per_class": 5, "levels": "8x2", "patch": "3/1"}
    fields |= {"adversarial": "l2:0.1", "adversarial_steps": 1}
    small = fit_recipe(colour, 20, 12, network="conv-dam", **fields)
    model = train(small, Dataset("colour", colour, colour)).model
    assert model.map_shape == (8, SIDE - 1, SIDE - 1)
    assert model.n_places == 4
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert float((loaded.predict(colour) == colour.labels).double().mean()) > 0.8
    v = colour.inputs()
    assert bool(denseam.basic_iterative(loaded, v, colour.labels, eps=1.0).success.any())


def test_what_does_not_go_together_is_refused():
    with pytest.raises(InputError, match="'convolutional' goes with conv-front, conv-dam, cnn"):
        Recipe.paper(3, front="convolutional", levels="4x2")
    with pytest.raises(InputError, match="patch = '3/1': wanted network 'conv-dam'"):
        Recipe.paper(20, network="conv-front", patch="3/1")
    with pytest.raises(InputError, match="levels = '4x': wanted CHANNELSxKERNEL"):
        Recipe.paper(20, network="conv-front", levels="4x")
    with pytest.raises(InputError, match="levels = '' with front = 'convolutional'"):
        Recipe.paper(20, network="conv-front", levels="")
    table = denseam.data.FeatureSet(torch.rand(30, 4), torch.arange(30) % 3, n_classes=3)
    with pytest.raises(InputError, match="wanted pictures, got rows of 4 numbers"):
        fit_recipe(table, 20, 2, network="conv-front", front="convolutional")
    with pytest.raises(InputError, match="the front takes 36 numbers"):
        train(recipe("conv-front", 1), images(), front=Convolutional((6, 6), "4x2"))
    assert not ConvFrontAM(3, 2, 4, 3, 1.0, front=Table(1)).front.learns


@pytest.mark.parametrize("network", KINDS)
def test_onnx_says_the_same(network, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    patch = {"patch": "2/1"} if network == "conv-dam" else {}
    model = train(recipe(network, 3, **patch), images()).model
    v = images(seed=4).visible()
    for head in denseam.classifier.HEADS:
        denseam.interop.export_onnx(model, tmp_path / "model.onnx", head, takes="visible")
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
        logits, labels = session.run(["logits", "label"], {"visible": v.numpy()})
        expected = model.scores(v, head).detach()
        if head == "log_energy":
            expected = torch.log_softmax(model.exact_scores(v).detach(), dim=1).float()
        # Gaps are differences; runtimes have no convolutions in float64.
        torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-2, atol=1e-3)
        assert labels.tolist() == model.predict(v).tolist()


def test_the_command_says_which_memory_where(tmp_path, capsys):
    from denseam.cli import main

    model = train(recipe("conv-dam", 2, patch="3/1"), images()).model
    model.save(tmp_path / "model.safetensors")
    images().save(tmp_path / "toy.npz")
    words = ["explain", str(tmp_path / "model.safetensors"), "--dataset", str(tmp_path / "toy.npz")]
    words += ["--part", "train"]
    assert main(words) == 0
    assert re.search(r"\d at [01], [01] ", capsys.readouterr().out)
    assert main([*words, "--out", str(tmp_path / "a.png")]) == 2
    assert "memories that are patches have no figure" in capsys.readouterr().err

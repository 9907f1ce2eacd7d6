"""The parts that one can swap, each added here in a few lines, and used through everything else.

Training, files, the command line, an attack and the guard know them by their tables alone.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import pytest
import torch
from tests.training.small import CLASSES, SIDE, dataset, images
from torch import Tensor, nn

import denseam
from denseam import Guard, Recipe, baselines, energies, fronts, load, train
from denseam.analysis import memory_statistics
from denseam.analysis.audit.surfaces import surfaces_of
from denseam.classifier import Classifier
from denseam.cli import parser
from denseam.energies import Homogeneous
from denseam.fronts import Front
from denseam.guard.detector import NetworkDetector
from denseam.guard.scores import Score
from denseam.kernels import choice, choose
from denseam.kernels.choice import Backend
from denseam.kernels.reference import ReferenceKernel
from denseam.presets import Preset
from denseam.study import Subject

N = SIDE * SIDE


def recipe(network: str = "dam", power: float = 3, **values: Any) -> Recipe:
    values = {"n_memories": 12, "per_class": 5, **values}
    return Recipe.paper(power, 20, network=network).for_data(images()).replace(**values)


def used_through_everything(model: Classifier, path: Any) -> Classifier:
    """Save and load, attack, and guard with a model; returns the loaded one."""
    model.save(path)
    loaded = load(path)
    test = images(seed=1)
    v, labels = test.visible(), test.labels
    assert torch.equal(loaded.log_energy(v), model.log_energy(v))
    assert float((loaded.predict(v) == labels).double().mean()) > 0.8
    crossed = denseam.cross_boundary(loaded, v[:8], step=0.05)
    assert bool(crossed.success.any())
    assert bool((loaded.predict(crossed.images) == crossed.targets)[crossed.success].all())
    attacked = denseam.basic_iterative(loaded, v, labels, eps=1.0)
    assert bool(attacked.success.any())
    guard = Guard(loaded, loaded).calibrate(test, target_rejection=0.1)
    assert guard.predict(test).labels.shape == (len(test),)
    guard.save(path.parent / "guard")
    assert Guard.load(path.parent / "guard").predict(test).labels.tolist() == (
        guard.predict(test).labels.tolist()
    )
    return loaded


# ---- an energy function --------------------------------------------------------------------------


@dataclass(frozen=True)
class LeakyPolynomial(Homogeneous):
    """F(x) = x^n for x >= 0, and a tenth of |x|^n below."""

    name: ClassVar[str] = "leaky"
    n: float

    @classmethod
    def matched(cls, power: float, temperature: float) -> Self:
        return cls(power)

    @property
    def power(self) -> float:
        return self.n

    def value(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, 1.0, 0.1) * x.abs() ** self.n

    def slope(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, 1.0, -0.1) * self.n * x.abs() ** (self.n - 1)

    def size(self, x: Tensor) -> Tensor:
        return x.abs()


@pytest.fixture
def leaky(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(energies.FUNCTIONS, "leaky", LeakyPolynomial)


@pytest.mark.usefixtures("leaky")
def test_another_energy_function(tmp_path: Any) -> None:
    result = train(recipe(energy="leaky"), dataset(), tmp_path / "run")
    model = used_through_everything(result.model, tmp_path / "m.safetensors")
    assert isinstance(model, denseam.DenseAM)
    assert model.energy == LeakyPolynomial(3)
    assert "LeakyPolynomial(n=3" in repr(model)
    assert "leaky" in recipe(energy="leaky").command()
    assert choose(energy=model.energy).kernel.name == "reference"
    shares = model.explain(images().visible()[0], count=12).predicted.shares
    assert float(shares.sum()) == pytest.approx(1)
    v, exact = images().visible().double().requires_grad_(), model.double()
    oracle = denseam.energy.log_energy(v, exact.memories.detach(), exact.energy)
    (slope,) = torch.autograd.grad(oracle.sum(), v)
    scores = exact.log_energy(v)
    torch.testing.assert_close(scores, oracle)
    torch.testing.assert_close(torch.autograd.grad(scores.sum(), v)[0], slope)


# ---- a network -----------------------------------------------------------------------------------


class CosineNetwork(Classifier):
    """Votes weighed by the cosine of an image and a memory."""

    kind: ClassVar[str] = "cosine"
    initial: ClassVar[tuple[float, float]] = (0.0, 0.3)
    presets: ClassVar[Any] = {2: Preset(4, 30, 30, 0, 0.04, 0.1)}

    def _scores(self, visible: Tensor, head: Any) -> Tensor:
        cosines = nn.functional.cosine_similarity(
            visible[:, None], self.visible_memories[None], dim=2
        )
        return 5 * (cosines / self.temperature).relu() @ self.class_memories


def test_another_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setitem(baselines.NETWORKS, "cosine", CosineNetwork)
    own = recipe("cosine")
    model = train(own, dataset(), tmp_path / "run").model
    assert isinstance(used_through_everything(model, tmp_path / "m.safetensors"), CosineNetwork)
    assert "--model cosine" in own.command()


class Ballots(Classifier):
    """Memories that add up by the exponential of their overlaps; none of the kernels."""

    kind: ClassVar[str] = "ballots"
    initial: ClassVar[tuple[float, float]] = (0.0, 0.3)
    has_energy: ClassVar[bool] = True
    _words: ClassVar[tuple[str, str]] = ("ballots{n:g}", "ballots, n = {n:g}")

    def _terms(self, visible: Tensor) -> Tensor:
        overlaps = visible @ self.visible_memories.T / self.temperature
        return overlaps[:, :, None] + self.class_memories  # (B, K, C)

    def _scores(self, visible: Tensor, head: Any) -> Tensor:
        scores = self._terms(visible).logsumexp(dim=1)
        return scores if head == "log_energy" else scores.exp() / self.n_memories

    def winner_distances(self, inputs: Tensor, labels: Tensor, overlaps: Any = None) -> Tensor:
        winners = self._terms(inputs)[torch.arange(len(inputs)), :, labels].argmax(dim=1)
        return (inputs - self.visible_memories[winners]).double().norm(dim=1)

    def contributions(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        terms = self._terms(inputs)[torch.arange(len(inputs)), :, self.predict(inputs)].T
        return torch.ones(self.n_memories, dtype=torch.bool), (terms - terms.amax(dim=0)).exp()


def test_another_network_with_an_energy_is_read_as_memories_are() -> None:
    test, model = images(seed=1), Ballots(N, CLASSES, n_memories=7, power=3, temperature=2.0)
    detector = NetworkDetector(model, Score("distance"))
    scores, labels = detector(test.visible())
    assert torch.equal(labels, model.predict(test.visible()))
    torch.testing.assert_close(scores, model.winner_distances(test.visible(), labels).detach())
    names = [surface.name for surface in surfaces_of(model, test.visible())]
    assert names[2:] == ["energy gap", "log-energy", "log-energy, scaled"]
    counts = memory_statistics(model, test, test)
    assert counts.n_dead == 0
    assert sum(counts.contributors) == len(test)
    assert Subject("b", model, "b").label == "ballots, n = 3"
    plain = CosineNetwork(N, CLASSES, n_memories=7, power=2, temperature=1.0)
    with pytest.raises(denseam.errors.InputError, match="'cosine'"):
        NetworkDetector(plain, Score("distance"))
    with pytest.raises(denseam.errors.InputError, match="'cosine'"):
        memory_statistics(plain, test, test)
    assert [s.name for s in surfaces_of(plain, test.visible())][2:] == ["scores", "scores, scaled"]
    assert Subject("c", plain, "c").label == "cosine"


# ---- a front -------------------------------------------------------------------------------------


class Mirror(Front):
    """Pictures, left for right, and their negatives beside them."""

    name: ClassVar[str] = "mirror"

    def __init__(self, height: int, width: int) -> None:
        super().__init__((height, width), 2 * height * width)

    def forward(self, inputs: Tensor) -> Tensor:
        mirrored = inputs.reshape(-1, *self.input_shape).flip(2).flatten(1)
        return torch.cat([mirrored, -mirrored], dim=1)

    def settings(self) -> dict[str, Any]:
        return {"height": self.input_shape[0], "width": self.input_shape[1]}


def test_another_front(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setitem(fronts.FRONTS, "mirror", Mirror)
    whole = train(recipe(), dataset(), tmp_path / "run", front=Mirror(SIDE, SIDE))
    model = used_through_everything(whole.model, tmp_path / "m.safetensors")
    assert (model.n_inputs, model.n_visible) == (N, 2 * N)
    again = train(recipe(), dataset(), tmp_path / "run", front=Mirror(SIDE, SIDE))
    assert torch.equal(again.model.memories, whole.model.memories)
    with pytest.raises(denseam.errors.RunFolderError, match="front"):
        train(recipe(), dataset(), tmp_path / "run")


# ---- a back end ----------------------------------------------------------------------------------


class Counting(ReferenceKernel):
    """The reference, which counts its looks."""

    name: ClassVar[str] = "counting"
    looks: ClassVar[int] = 0

    def overlaps(self, visible: Tensor, memories: Tensor) -> Tensor:
        Counting.looks += 1
        return super().overlaps(visible, memories)


def test_another_back_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    row = Backend("counting on the CPU", "cpu", Counting, lambda *_: None)
    monkeypatch.setattr(choice, "BACKENDS", {"counting": row, **choice.BACKENDS})
    choice._choose.cache_clear()
    try:
        model = train(recipe(), dataset(), tmp_path / "run").model
        before = Counting.looks
        used_through_everything(model, tmp_path / "m.safetensors")
        assert Counting.looks > before > 0
    finally:
        choice._choose.cache_clear()
        choice.by_name.cache_clear()


# ---- a batch callable ----------------------------------------------------------------------------


def noisy(model: Classifier, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Every image, and every image with noise."""
    noise = 0.1 * torch.randn_like(inputs)
    return torch.cat([inputs, (inputs + noise).clamp(-1, 1)]), labels.repeat(2)


def test_another_batch(tmp_path: Any) -> None:
    class StopAtTwo(denseam.Callback):
        def on_epoch(self, record: Any) -> None:
            if record.epoch == 2:
                raise KeyboardInterrupt

    whole = train(recipe(), dataset(), batch=noisy).model
    assert not torch.equal(whole.memories, train(recipe(), dataset()).model.memories)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), dataset(), tmp_path / "run", batch=noisy, callbacks=[StopAtTwo()])
    resumed = train(recipe(), dataset(), tmp_path / "run", batch=noisy).model
    assert torch.equal(resumed.memories, whole.memories)
    used_through_everything(whole, tmp_path / "m.safetensors")


def test_a_batch_callable_may_ask_for_its_place() -> None:
    places = []

    def note(model: Any, inputs: Tensor, labels: Tensor, *, epoch: int, batch: int) -> Tensor:
        places.append((epoch, batch, inputs.shape[1], model.n_classes))
        return inputs

    train(recipe().replace(epochs=2), images(), batch=note)
    batches = len(places) // 2
    assert places == [(e, b, N, CLASSES) for e in range(2) for b in range(batches)]


@pytest.mark.parametrize(
    "returned", [lambda x: None, lambda x: x[:, :-1], lambda x: x.double(), lambda x: x / 0]
)
def test_a_batch_callable_that_returns_no_batch_is_refused(returned: Any) -> None:
    with pytest.raises(denseam.errors.InputError, match="batch returned inputs"):
        train(recipe(), images(), batch=lambda model, inputs, labels: returned(inputs))


def test_the_command_line_lists_the_tables() -> None:
    help_text = parser().format_help()
    assert "train" in help_text
    args = parser().parse_args(["train", "--power", "3", "--energy", "exponential", "--out", "x"])
    assert args.energy == "exponential"

"""Steps that need no host do what the loop does; recorded only where there is a card."""

import pytest
import torch

pytest.importorskip("triton")

import denseam
from denseam.kernels import by_name
from denseam.training import graph, learner
from denseam.training.graph import recordable

from .small import Stop, StopAt, dataset, recipe, without_seconds

on_card = pytest.param(
    "cuda", marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card here"),
    ],
)  # fmt: skip


@pytest.fixture
def interpreted(monkeypatch):
    """Training on the CPU as if on a card: Triton's kernels, steps played as they are."""
    monkeypatch.setattr(learner, "with_precision", lambda *_: by_name("triton"))
    monkeypatch.setattr(learner, "recordable", lambda *_: True)
    monkeypatch.setattr(graph, "recorded", lambda step: step)


@pytest.mark.usefixtures("interpreted")
@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernels are compiled here")
def test_resident_steps_learn_what_the_loop_learns(monkeypatch):
    chosen = recipe(3, epochs=2, dtype="float64")
    resident = denseam.train(chosen, dataset())
    monkeypatch.setattr(learner, "recordable", lambda *_: False)
    plain = denseam.train(chosen, dataset())
    torch.testing.assert_close(resident.model.memories, plain.model.memories, rtol=0, atol=1e-12)
    for one, other in zip(
        without_seconds(resident.records), without_seconds(plain.records), strict=True
    ):
        assert one.pop("class_errors") == other.pop("class_errors")
        numbers = {name: value for name, value in other.items() if value is not None}
        assert one.keys() == other.keys()
        assert {name: one[name] for name in numbers} == pytest.approx(numbers, rel=1e-9)


@pytest.mark.usefixtures("interpreted")
@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernels are compiled here")
def test_a_run_goes_on_to_the_same_bits(tmp_path):
    chosen = recipe(3, epochs=3)
    whole = denseam.train(chosen, dataset())
    with pytest.raises(Stop):
        denseam.train(chosen, dataset(), tmp_path / "run", callbacks=[StopAt(1, 2)])
    resumed = denseam.train(chosen, dataset(), tmp_path / "run")
    assert torch.equal(whole.model.memories, resumed.model.memories)


def test_only_triton_on_a_card_is_recorded():
    card, cpu = torch.device("cuda"), torch.device("cpu")
    assert recordable(by_name("triton"), card)
    assert not recordable(by_name("triton"), cpu)
    assert not recordable(by_name("reference"), card)


@pytest.mark.parametrize("device", [on_card])
def test_a_recorded_step_learns_what_the_loop_learns(device, monkeypatch):
    chosen = recipe(3, epochs=4)
    played = []
    plain_recorded = graph.recorded

    def spy(step):
        played.append(plain_recorded(step))
        return played[-1]

    monkeypatch.setattr(graph, "recorded", spy)
    resident = denseam.train(chosen, dataset(), device=device)
    assert len(played) == 1, "recorded anew in every epoch"
    monkeypatch.setattr(learner, "recordable", lambda *_: False)
    plain = denseam.train(chosen, dataset(), device=device)
    torch.testing.assert_close(resident.model.memories, plain.model.memories, rtol=0, atol=1e-3)

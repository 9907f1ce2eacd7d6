"""Beyond the boundary: final images, traces of the objective, callbacks. Other modules too."""

import pytest
import torch
from tests.descent.small import images, prototypes, random_model
from torch import nn

from denseam import energy
from denseam.data import ImageSet
from denseam.descent import (
    Stop,
    attack_set,
    basic_iterative,
    cross_boundary,
    minimum_norm,
    rubbish,
    sign_gradient,
    square_attack,
)
from denseam.errors import InputError


def log_c(model, v, target, m):
    """log C_alpha from the oracle."""
    Y = energy.class_activity(v, model.memories.detach(), model.power, model.temperature)
    t = -torch.ones_like(Y)
    t[:, target] = 1
    return ((Y - t) ** (2 * m)).sum(dim=1).log()


def test_traces_are_the_objectives_of_the_oracle_along_the_way():
    model, v = prototypes(5.0), images(8, 12)
    found = cross_boundary(model, v, step=0.05, samples=[6, 1], chunk=4, max_steps=300)
    assert [trace.sample for trace in found.traces] == [1, 6]
    for trace in found.traces:
        i = trace.sample
        assert (trace.top, trace.target) == (int(found.labels[i]), int(found.targets[i]))
        start = v[i : i + 1]
        for c, logs in ((trace.top, trace.log_top), (trace.target, trace.log_target)):
            assert float(logs[0]) == pytest.approx(float(log_c(model, start, c, 4)), abs=1e-9)
            end = float(log_c(model, trace.final[None], c, 4))
            assert float(logs[-1]) == pytest.approx(end, abs=1e-9)
        # C_top and C_target cross where the two Y do: in the step that crosses the boundary.
        assert int(found.steps[i]) - 1 <= trace.crossing <= int(found.steps[i])
        assert trace.steps == len(trace.log_top) - 1
        assert trace.log_target[-1] < trace.log_target[0]


def test_a_trace_that_never_crosses_has_no_crossing():
    found = cross_boundary(prototypes(), images(3, 12), step=0.001, samples=[0], max_steps=3)
    assert found.traces[0].crossing is None
    assert found.traces[0].steps == 3


def test_final_images_are_where_the_target_converges():
    model, v = prototypes(20.0), images(8, 12)
    found = cross_boundary(model, v, step=0.05, converge=True)
    looks = model.visible_memories.detach().sign()[found.targets]
    assert (found.final.sign() == looks).double().mean() > 0.9
    assert cross_boundary(model, v, step=0.05).final is None


def test_on_step_gets_the_images_that_have_not_stopped():
    model, v = prototypes(), images(9, 12)
    seen = []
    found = cross_boundary(model, v, step=0.05, chunk=5, on_step=seen.append)
    assert {int(row) for step in seen for row in step.rows} == set(range(9))
    for row in range(9):
        of_row = [s for s in seen if row in s.rows.tolist()]
        assert len(of_row) == int(found.steps[row]) + 1
        last = of_row[-1]
        at = last.rows.tolist().index(row)
        assert torch.equal(last.images[at], found.images[row])
    assert all(step.scores.shape == (len(step.rows), 3) for step in seen)


class Convolution(nn.Module):
    """(B, 1, 4, 3) -> (B, 3)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(48, 3)
        ).double()

    def forward(self, x):
        return self.layers(x)


def test_modules_get_and_give_images_of_their_own_shape():
    module, v = Convolution(), images(6, 12).reshape(6, 1, 4, 3)
    for mode in ("faithful", "controlled"):
        found = cross_boundary(module, v, step=0.05, mode=mode, converge=True, samples=[2])
        assert found.success.all()
        for each in (found.images, found.before, found.boundary, found.final):
            assert each.shape == v.shape
        assert found.traces[0].final.shape == v.shape[1:]
        with torch.no_grad():
            on = module(found.boundary)
        own = on.gather(1, found.targets[:, None])
        assert (on.amax(dim=1, keepdim=True) - own).abs().max() < 1e-6
    labels = module(v).argmax(dim=1)
    for attacked in (
        sign_gradient(module, v, labels, 0.1),
        basic_iterative(module, v, labels, 0.1),
    ):
        assert attacked.images.shape == v.shape
        assert (attacked.images - v).abs().max() <= 0.1 + 1e-12
    made = rubbish(module, [1], shape=(1, 4, 3), per_class=2, max_steps=50)
    assert made.images.shape == (2, 1, 4, 3)


def test_a_module_is_left_as_it_was():
    module = Convolution()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    cross_boundary(module, images(3, 12).reshape(3, 1, 4, 3), step=0.05)
    assert all(p.grad is None for p in module.parameters())
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())


def test_modules_that_are_not_deterministic_are_refused():
    module = nn.Sequential(nn.Dropout(), nn.Linear(12, 3)).double()
    with pytest.raises(InputError, match="Dropout is training"):
        cross_boundary(module, images(3, 12))
    cross_boundary(module.eval(), images(3, 12), max_steps=2)
    norm = nn.BatchNorm1d(12, track_running_stats=False)
    with pytest.raises(InputError, match="BatchNorm1d has no running statistics"):
        cross_boundary(nn.Sequential(norm, nn.Linear(12, 3)).double().eval(), images(3, 12))


def test_noise_for_a_module_needs_a_shape():
    with pytest.raises(InputError, match="shape"):
        rubbish(Convolution())


def test_a_model_in_another_dtype_is_refused():
    for module in (random_model(3.0, torch.float32), nn.Linear(9, 3)):
        with pytest.raises(InputError, match=r"float64 .*float32"):
            cross_boundary(module, images(3, 9))
    with pytest.raises(InputError, match=r"float32"):
        rubbish(random_model(3.0), start=images(3, 9, torch.float32))


def test_a_model_on_another_device_is_refused():
    with pytest.raises(InputError, match="meta"):
        cross_boundary(random_model(3.0).to("meta"), images(3, 9))


@pytest.mark.parametrize("samples", [[3], [-1]])
def test_samples_that_are_not_there_are_refused(samples):
    with pytest.raises(InputError, match="samples"):
        cross_boundary(random_model(3.0), images(3, 9), samples=samples)


def test_broken_scores_are_that_reason():
    class Broken(nn.Module):
        def forward(self, x):
            return x[:, :3] * torch.nan

    found = cross_boundary(Broken(), images(4, 9), torch.tensor([1, 1, 1, 1]), max_steps=5)
    assert found.stop_counts() == {Stop.NONFINITE: 4}
    assert not found.success.any()


def test_several_sizes_in_one_call_for_the_iterative_ones():
    model, v = random_model(20.0), images(12, 9)
    labels = model.predict(v)
    both = basic_iterative(model, v, labels, [0.1, 0.4], steps=3, chunk=5)
    for eps, found in zip((0.1, 0.4), both, strict=True):
        assert torch.equal(found.images, basic_iterative(model, v, labels, eps, steps=3).images)
    for wrong in ([], [0.1, 0.0], -1.0):
        with pytest.raises(InputError, match="eps"):
            basic_iterative(model, v, labels, wrong)


# ---- modules that are no classifier, or not one that can be attacked -----------------------------


class Wrapped(nn.Module):
    """A linear layer whose answer is changed on its way out."""

    def __init__(self, answer):
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.answer = nn.Linear(12, 3).double(), answer

    def forward(self, v):
        return self.answer(self.inner, v)


CALLS = {
    "cross_boundary": lambda m, v, y: cross_boundary(m, v, max_steps=3),
    "minimum_norm": minimum_norm,
    "rubbish": lambda m, v, y: rubbish(m, shape=(12,), per_class=2, max_steps=3),
    "sign_gradient": lambda m, v, y: sign_gradient(m, v, y, 0.1),
    "square_attack": lambda m, v, y: square_attack(m, v, y, 0.1, shape=(3, 4), queries=5),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda f, v: (f(v), v), "returned <class 'tuple'> for"),
        (lambda f, v: f(v)[:, 0], r"returned shape \(\d,\) for"),
        (lambda f, v: f(v)[:, :, None], r"returned shape \(\d, 3, 1\) for"),
        (lambda f, v: f(v)[:1].expand(7, -1), r"returned shape \(7, 3\) for"),
        (lambda f, v: f(v).argsort(dim=1), r"returned torch.int64 for"),
        (lambda f, v: f(v + 0.5 * torch.randn_like(v)), "differently when asked again"),
        (lambda f, v: f(v - v.mean(dim=0)), "differently when asked again"),
    ],
)
def test_modules_that_return_no_logits_of_their_own_are_refused(call, answer, words):
    v = images(4, 12)
    with pytest.raises(InputError, match=words):
        CALLS[call](Wrapped(answer), v, torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "answer", [lambda f, v: f(v.detach()), lambda f, v: torch.tensor(f(v).tolist()).double()]
)
def test_modules_without_a_gradient_are_refused_where_one_is_needed(call, answer):
    v, module = images(4, 12), Wrapped(answer)
    labels = module(v).argmax(dim=1)
    if call == "square_attack":
        assert len(CALLS[call](module, v, labels)) == 4
        return
    with pytest.raises(InputError, match="no gradient with respect to its images"):
        CALLS[call](module, v, labels)


def test_mixed_precision_around_an_attack_changes_nothing():
    module, v = Convolution().float(), images(6, 12, torch.float32).reshape(6, 1, 4, 3)
    plain = minimum_norm(module, v)
    clean = ImageSet(v[:, 0], plain.labels, 3)
    attacked = attack_set(module, clean, "bim", 0.1, input_shape=(1, 4, 3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(minimum_norm(module, v).images, plain.images)
        again = attack_set(module, clean, "bim", 0.1, input_shape=(1, 4, 3))
    assert torch.equal(again.images, attacked.images)
    assert torch.equal(again.facts["scores"], attacked.facts["scores"])


def test_a_module_that_rounds_otherwise_in_another_batch_is_attacked():
    module, v = Wrapped(lambda f, v: f(v) * (1 + 1e-3 * len(v))), images(4, 12)
    assert len(sign_gradient(module, v, module(v).argmax(dim=1), 0.1)) == 4


CHANCE = {
    "noise": lambda f, v, calls: f(v + 0.5 * torch.randn_like(v)),
    "for some images": lambda f, v, calls: f(
        torch.where(v[:, :1] > 0.3, v + 0.5 * torch.randn_like(v), v)
    ),
    "in later calls": lambda f, v, calls: f(v + (calls > 4) * 0.5 * torch.randn_like(v)),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("chance", CHANCE)
def test_a_module_that_answers_by_chance_is_found_out(call, chance):
    calls = iter(range(10**6))
    module, v = Wrapped(lambda f, v: CHANCE[chance](f, v, next(calls))), images(40, 12)
    labels = module.inner(v).argmax(dim=1)
    if call == "rubbish" and chance == "for some images":
        return  # it starts at noise of its own
    with pytest.raises(InputError, match=r"differently when asked again.*say little"):
        CALLS[call](module, v, labels)


class Output:
    """The output of a Hugging Face model."""

    def __init__(self, logits):
        self.logits = logits


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "answer",
    [
        lambda f, v: Output(f(v)), lambda f, v: {"loss": None, "logits": f(v)},
        lambda f, v: f(v.mul_(1)), lambda f, v: f(v.reshape(v.shape[0], -1)),
    ],
    ids=["output", "dict", "in place", "reshaped"],
)  # fmt: skip
def test_logits_in_an_output_and_images_changed_in_place_are_fine(call, answer):
    v = images(8, 12)
    labels = Wrapped(lambda f, v: f(v))(v).argmax(dim=1)
    plain = CALLS[call](Wrapped(lambda f, v: f(v)), v.clone(), labels)
    result = CALLS[call](Wrapped(answer), v, labels)
    assert torch.equal(result.images, plain.images)
    assert torch.equal(v, images(8, 12))


@pytest.mark.parametrize("call", ["minimum_norm", "sign_gradient", "square_attack"])
def test_scores_that_are_nan_are_no_success(call):
    v = images(4, 12)
    broken = Wrapped(lambda f, v: torch.where(v[:, :1] > v[0, 0] - 1e-9, torch.nan, f(v)))
    with pytest.raises(InputError, match=r"logits are NaN for \d of 4 images"):
        CALLS[call](broken, v, torch.ones(4, dtype=torch.int64))

"""Records made of image sets and descents: what the figures then show."""

import math

import pytest
import torch
from tests.descent.small import images, prototypes

from denseam.analysis import confidence
from denseam.data import ImageSet
from denseam.descent import attack_set, cross_boundary, rubbish_set
from denseam.errors import InputError
from denseam.evaluation import wilson_interval
from denseam.figures import boundary
from denseam.figures.records import boundary_traces, model_name, rubbish_grid, sign_curves

SHAPE = (4, 3)


@pytest.fixture(scope="module")
def model():
    return prototypes(20.0).float()


@pytest.fixture(scope="module")
def clean(model):
    v = images(12, 12, torch.float32)
    return ImageSet(v.reshape(-1, *SHAPE), model.predict(v), 3, ("a", "b", "c"), "clean")


def test_a_rubbish_grid_has_the_first_images_of_every_class(model):
    made = rubbish_set(model, [2, 0], shape=SHAPE, class_names="abc", per_class=2, max_steps=60)
    made.facts["scores"][1] = 0.0
    record = rubbish_grid([made], rows=2)
    assert record.rows == ("n = 20 (1)", "n = 20 (2)")
    assert record.columns == ("a", "c")
    # The set begins with class 2; columns go by class.
    assert torch.equal(record.images[0], made.images[[2, 0]])
    assert torch.equal(record.images[1], made.images[[3, 1]])
    own = made.facts["scores"][torch.arange(4), made.labels]
    there = (made.facts["predicted"] == made.labels) & (own > 0.5)
    assert torch.equal(record.missing, ~there[torch.tensor([[2, 0], [3, 1]])])
    assert record.missing[1, 1]
    assert not record.missing.all()
    assert rubbish_grid([made, made]).rows == ("n = 20", "n = 20")
    with pytest.raises(InputError, match="3 images of every class"):
        rubbish_grid([made], rows=3)
    other = rubbish_set(model, [1], shape=SHAPE, class_names="abc", max_steps=1)
    with pytest.raises(InputError, match="same classes"):
        rubbish_grid([made, other])


def test_sign_curves_are_error_interval_and_confidence_on_errors():
    model, v = prototypes(3.0).float(), images(12, 12, torch.float32)
    clean = ImageSet(v.reshape(-1, *SHAPE), model.predict(v), 3)
    eps = [0.0, 0.2, 0.6]
    made = attack_set(model, clean, "fgsm", eps)
    record = sign_curves([made], beta_sm=2.0)
    assert (record.names, record.eps, record.counts) == (("n = 3",), tuple(eps), 12)
    assert record.errors[0, 0] == 0
    assert math.isnan(record.confidences[0, 0]), "no errors, no confidence on them"
    for i, size in enumerate(eps[1:], 1):
        here = made.subset(made.facts["eps"] == size)
        v = here.visible()
        wrong = model.predict(v) != here.labels
        assert wrong.any()
        assert float(record.errors[0, i]) == pytest.approx(float(wrong.double().mean()))
        low, high = wilson_interval(int(wrong.sum()), 12)
        assert record.intervals[0, i].tolist() == pytest.approx([low, high])
        expected = float(confidence(model, v[wrong], 2.0).mean())
        assert float(record.confidences[0, i]) == pytest.approx(expected, abs=1e-6)


def test_sets_that_do_not_go_together_are_refused(model, clean):
    some, others = attack_set(model, clean, "fgsm", 0.1), attack_set(model, clean, "fgsm", 0.2)
    with pytest.raises(InputError, match="same sizes"):
        sign_curves([some, others])
    fewer = attack_set(model, clean.subset(slice(5)), "fgsm", 0.1)
    with pytest.raises(InputError, match=r"\[5, 12\] images"):
        sign_curves([some, fewer])
    with pytest.raises(InputError, match="no fact 'eps'"):
        sign_curves([clean])
    with pytest.raises(InputError, match=r"made by .denseam rubbish"):
        rubbish_grid([clean])


def test_boundary_traces_are_those_of_the_descent(model, clean):
    v = clean.visible()
    found = cross_boundary(model, v, step=0.05, samples=[4, 7], max_steps=200)
    final = [int(model.predict(trace.final[None])) for trace in found.traces]
    records = boundary_traces(
        found, v, final, shape=SHAPE, class_names=clean.class_names, name="n = 20", step=0.05
    )
    for record, trace in zip(records, found.traces, strict=True):
        i = trace.sample
        assert torch.equal(record.images[0].flatten(), v[i].double())
        assert torch.equal(record.images[1].flatten(), found.boundary[i])
        assert torch.equal(record.images[2].flatten(), trace.final.double())
        a, b = clean.class_names[trace.top], clean.class_names[trace.target]
        assert record.labels[:2] == (a, f"{a} / {b}")
        assert record.log_top == tuple(trace.log_top.tolist())
        assert record.log_target == tuple(trace.log_target.tolist())
        assert (record.crossing, record.step) == (trace.crossing, 0.05)


def test_only_the_way_around_the_crossing_is_drawn():
    from matplotlib.figure import Figure

    values = tuple(float(i) for i in range(1000))
    record = boundary.BoundaryTrace(
        "n = 30", values, values[::-1], 10.2, 0.5, torch.zeros(3, *SHAPE), ("1", "1 / 2", "2")
    )
    ax = Figure().subplots()
    boundary.plot_objectives(record, ax)
    drawn = [line for line in ax.lines if len(line.get_xdata()) > 2]
    assert len(drawn) == 2
    for line in drawn:
        assert line.get_xdata()[-1] == pytest.approx(41 * 0.5)  # four crossings, rounded up
        assert len(line.get_ydata()) == 42


def test_models_are_named_by_power_or_set(clean, model):
    assert model_name(attack_set(model, clean, "fgsm", 0.1)) == "n = 20"
    assert model_name(clean) == "clean"

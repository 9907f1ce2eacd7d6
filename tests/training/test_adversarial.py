"""Adversarial training: the attack, what is learned from it, what is recorded, and resuming."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import denseam
from denseam import DenseAM, Recipe
from denseam.data import FeatureSet
from denseam.errors import InputError
from denseam.fronts import Pixels
from denseam.kernels import Agreement
from denseam.mesh import Mesh
from denseam.training import Adversarial, Distort, Shift, Threat

from .small import Stop, StopAt, assert_same_run, dataset, images, recipe

ROBUST = recipe(3, 6, objective="cross-entropy", logit_scale=20.0, adversarial="l2:0.4")
ALONE = Mesh().data


@pytest.fixture(scope="module")
def model():
    return denseam.train(recipe(3, 6, objective="cross-entropy", logit_scale=20.0), images()).model


def lead(model, v, labels):
    """By how much the right class leads, (B,)."""
    scores = model.exact_scores(v).detach()
    others = scores.scatter(1, labels[:, None], -math.inf).amax(dim=1)
    return scores.gather(1, labels[:, None])[:, 0] - others


@given(norm=st.sampled_from(["l2", "linf"]), eps=st.floats(1e-3, 50), size=st.floats(0, 1e3))
@settings(max_examples=60, deadline=None)
def test_a_projected_change_is_within_the_threat_and_keeps_its_direction(norm, eps, size):
    threat = Threat(norm, 1.0)
    change = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(2, 6) * size
    projected = threat.projected(change, eps)
    length = torch.linalg.vector_norm(projected, ord=2 if norm == "l2" else math.inf, dim=1)
    assert bool((length <= eps * (1 + 1e-9)).all())
    assert bool((projected * change >= 0).all())
    inside = torch.linalg.vector_norm(change, ord=2 if norm == "l2" else math.inf, dim=1) <= eps
    assert torch.allclose(projected[inside], change[inside])


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("random_start", [True, False])
def test_attacked_images_lie_within_size_and_box_and_lead_by_less(model, norm, random_start):
    test = images(30, seed=2)
    v, eps = test.visible(), {"l2": 0.8, "linf": 0.2}[norm]
    rule = Adversarial(norm, eps, steps=5, mix=1, random_start=random_start)
    moved, labels = rule(model, v, test.labels, epoch=0)
    size = torch.linalg.vector_norm(moved - v, ord=2 if norm == "l2" else math.inf, dim=1)
    assert bool((size <= 2 * eps * (1 + 1e-5)).all())
    assert float(size.median()) > eps
    assert float(moved.abs().max()) <= 1
    assert torch.equal(labels, test.labels)
    assert bool((lead(model, moved, labels) < lead(model, v, labels)).all())


def test_more_steps_make_a_stronger_attack_than_random_changes(model):
    test = images(60, seed=3)
    v = test.visible()
    leads = []
    for steps, step in [(1, 1e-9), (1, 2.5), (10, 2.5)]:
        torch.manual_seed(0)
        rule = Adversarial("l2", 1.0, steps=steps, step=step, mix=1)
        moved, labels = rule(model, v, test.labels, epoch=0)
        leads.append(float(lead(model, moved, labels).mean()))
    assert leads[0] > leads[1] > leads[2]


def test_sizes_grow_over_the_ramp(model):
    test = images(9)
    v = test.visible()
    rule = Adversarial("linf", 0.4, mix=1, ramp=3)
    sizes = [float((rule(model, v, test.labels, epoch)[0] - v).abs().max()) for epoch in range(5)]
    assert sizes == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])


@pytest.mark.parametrize(
    ("mix", "clean", "attacked"), [(0.5, 30, 30), (1, 0, 30), (0.75, 10, 30), (0.25, 30, 10)]
)
def test_mix_is_the_share_of_attacked_images(model, mix, clean, attacked):
    test = images(30)
    v = test.visible()
    learned, labels = Adversarial("l2", 0.3, mix=mix)(model, v, test.labels, epoch=0)
    assert len(learned) == len(labels) == clean + attacked
    rows = {tuple(row) for row in v.tolist()}
    assert [tuple(row) in rows for row in learned.tolist()] == clean * [True] + attacked * [False]


def test_several_threats_share_the_images(model):
    test = images(30)
    v = test.visible()
    rule = Adversarial.parse("l2:0.1,linf:0.2", mix=1, random_start=False)
    moved, _ = rule(model, v, test.labels, epoch=0)
    largest = (moved - v).abs().amax(dim=1)
    assert bool((largest[::2] < 0.2).all())  # l2 of 0.1 moves no pixel by more
    assert largest[1::2].tolist() == pytest.approx(15 * [0.4])


def test_an_attack_that_has_succeeded_by_enough_stops(model):
    test = images(60, seed=4)
    v = test.visible()
    whole, labels = Adversarial("l2", 3.0, steps=12, mix=1, random_start=False)(
        model, v, test.labels, epoch=0
    )
    brief, _ = Adversarial("l2", 3.0, steps=12, mix=1, random_start=False, enough=0.0)(
        model, v, test.labels, epoch=0
    )
    assert torch.equal(lead(model, whole, labels) > 0, lead(model, brief, labels) > 0)
    crossed = lead(model, brief, labels) <= 0
    assert int(crossed.sum()) > 30
    shorter = (brief - v).norm(dim=1) < (whole - v).norm(dim=1)
    assert float(shorter[crossed].float().mean()) > 0.9


def test_images_without_a_direction_are_counted_and_stay():
    dead = DenseAM(25, 3, 4, 3, 5.0)
    dead.memories.data.fill_(-1.0)
    v, labels = torch.ones(6, 25), torch.arange(6) % 3
    rule = Adversarial("l2", 0.5, mix=1, random_start=False)
    moved, _ = rule(dead, v, labels, epoch=0)
    rule.learned(dead.predict(moved), labels)
    assert torch.equal(moved, v)
    assert rule.summary(ALONE)["without_direction"] == 1


def test_records_tell_errors_on_clean_and_attacked_images():
    result = denseam.train(ROBUST, dataset())
    attacks = [record.attack for record in result.records]
    assert [each["eps"] for each in attacks] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    last, record = attacks[-1], result.records[-1]
    assert last["clean_error"] <= last["attacked_error"]
    assert record.train_error == pytest.approx((last["clean_error"] + last["attacked_error"]) / 2)
    assert last["without_direction"] == 0
    assert denseam.train(recipe(3, 1), images()).records[0].attack is None


def test_training_with_attacks_leaves_fewer_images_to_them():
    data, sizes = dataset(), {"objective": "cross-entropy", "logit_scale": 20.0}
    plain = denseam.train(recipe(3, 12, **sizes), data).model
    robust = denseam.train(recipe(3, 12, adversarial="l2:0.8", **sizes), data).model
    v, labels = data.test.visible(), data.test.labels
    errors = []
    for model in (plain, robust):
        attack = Adversarial("l2", 0.8, steps=40, mix=1, random_start=False)
        moved, _ = attack(model, v, labels, epoch=0)
        errors.append(float((model.predict(moved) != labels).float().mean()))
    assert errors[1] < errors[0] - 0.1


def test_a_fast_perturbation_is_one_step_beyond_the_size(model):
    test = images(30)
    v = test.visible()
    rule = Adversarial("linf", 0.2, steps=9, mix=1, random_start=False, perturbations="fast")
    moved, _ = rule(model, v, test.labels, epoch=0)
    one, _ = Adversarial("linf", 0.2, steps=1, step=1.25, mix=1, random_start=False)(
        model, v, test.labels, epoch=0
    )
    assert torch.equal(moved, one)
    torch.manual_seed(0)
    started, _ = Adversarial("linf", 0.2, mix=1, perturbations="fast")(
        model, v, test.labels, epoch=0
    )
    assert not torch.equal(moved, started)


def test_free_perturbations_go_on_while_a_batch_is_shown_again(model):
    test = images(30)
    v = test.visible()
    rule = Adversarial("l2", 1.5, steps=3, mix=1, random_start=False, perturbations="free")
    leads = [
        float(lead(model, rule(model, v, test.labels, epoch=0, batch=k)[0], test.labels).mean())
        for k in range(4)
    ]
    assert leads[2] < leads[1] < leads[0]
    assert leads[3] == leads[0]  # the next batch begins at its images


def test_free_training_shows_every_batch_so_often():
    shown = []

    class Noted(Adversarial):
        def __call__(self, model, inputs, labels, epoch, batch=0):
            shown.append((batch, inputs.clone()))
            return super().__call__(model, inputs, labels, epoch, batch)

    denseam.train(recipe(3, 1), images(), batch=Noted("l2", 0.4, steps=3, perturbations="free"))
    assert [number for number, _ in shown] == list(range(12))
    alike = [torch.equal(a, b) for (_, a), (_, b) in itertools.pairwise(shown)]
    assert alike == [True, True, False, True, True, False, True, True, False, True, True]


def test_attacked_images_may_be_asked_for_the_answers_to_clean_ones():
    torch.manual_seed(0)
    scores, labels = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 3, 1, 0, 3, 1])
    clean, attacked = (torch.softmax(5 * rows, dim=1) for rows in (scores[:3], scores[3:]))
    divergence = sum(
        float(p * math.log(p / q)) for p, q in zip(clean.flatten(), attacked.flatten(), strict=True)
    )
    right = -sum(math.log(row[c]) for row, c in zip(clean, labels[:3], strict=True))
    value = float(Agreement(5.0, mix=0.25).value(scores, labels))
    assert value == pytest.approx(0.75 * right + 0.25 * divergence)
    chosen = ROBUST.replace(attacked_target="clean", mix=0.8)
    result = denseam.train(chosen, dataset())
    assert result.records[-1].attack["clean_error"] < 0.2
    others = (ROBUST, chosen.replace(mix=0.2))
    for other in others:
        assert not torch.equal(
            result.model.memories, denseam.train(other, dataset()).model.memories
        )


@pytest.mark.parametrize("fields", [{"perturbations": "free"}, {"attacked_target": "clean"}])
def test_options_of_the_attack_go_on_to_the_same_bits(tmp_path, fields):
    chosen = ROBUST.replace(**fields)
    whole = denseam.train(chosen, dataset())
    with pytest.raises(Stop):
        denseam.train(chosen, dataset(), tmp_path, callbacks=[StopAt(2, 2)])
    assert_same_run(denseam.train(chosen, dataset(), tmp_path), whole)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"perturbations": "cheap"}, "perturbations"),
        ({"attacked_target": "other"}, "attacked_target"),
        ({"attacked_target": "clean", "objective": "margin"}, "wanted objective 'cross-entropy'"),
        ({"attacked_target": "clean", "adversarial": ""}, "wanted objective 'cross-entropy'"),
        ({"adversarial_steps": 0}, "adversarial_steps"),
    ],
)
def test_options_that_do_not_go_together_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        ROBUST.replace(**fields)
    with pytest.raises(InputError, match="mix"):
        Adversarial("l2", 1.0, mix=0.3, perturbations="free")


@pytest.mark.parametrize("stop", [(0, 1), (2,), (4, 3)], ids=str)
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path, stop):
    whole = denseam.train(ROBUST, dataset())
    with pytest.raises(Stop):
        denseam.train(ROBUST, dataset(), tmp_path, callbacks=[StopAt(*stop)])
    assert_same_run(denseam.train(ROBUST, dataset(), tmp_path), whole)


@pytest.mark.parametrize("shape", [(4, 6), (3, 4, 6)])
def test_shifted_images_are_moved_by_one_pixel(shape):
    pictures = torch.randn(400, *shape)
    moved = Shift(shape, 0.5)(None, pictures.flatten(1), torch.zeros(400)).reshape(400, *shape)
    places = []
    for before, after in zip(pictures, moved, strict=True):
        here = [
            (y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)
            if torch.equal(
                before[..., max(0, y) : 4 + min(0, y), max(0, x) : 6 + min(0, x)],
                after[..., max(0, -y) : 4 + min(0, -y), max(0, -x) : 6 + min(0, -x)],
            )
        ]  # fmt: skip
        places += here
    assert len(places) == 400
    assert 150 < places.count((0, 0)) < 250
    assert len(set(places)) == 9


@pytest.mark.parametrize("shape", [(28, 28), (3, 20, 30)])
def test_distorted_images_keep_range_colours_and_places(shape):
    *_, height, width = shape
    spot = torch.full((1000, *shape), -1.0)
    spot[..., height // 2 - 1 : height // 2 + 1, width // 2 - 1 : width // 2 + 1] = 1
    turned = Distort(shape, 0.5)(None, spot.flatten(1), torch.zeros(1000)).reshape(spot.shape)
    assert -1 <= turned.min() <= turned.max() <= 1
    assert (turned[..., 0, :] == -1).all()  # exactly: certificates know the box
    bright = Distort(shape, 1.0)(None, -spot.flatten(1), torch.zeros(1000)).reshape(spot.shape)
    assert bright[..., 0, :].min() > 0.999  # edges are repeated, not filled with grey or black
    changed = (turned != spot).flatten(1).any(dim=1)
    assert 430 < changed.sum() < 570
    light = (turned + 1).reshape(1000, -1, height, width)
    assert torch.allclose(light[:, :1], light[:, -1:])  # all colours move alike
    rows = torch.arange(height) - (height - 1) / 2
    centres = (light.sum(dim=3) * rows).sum(dim=2)[:, 0] / light.sum(dim=(2, 3))[:, 0]
    assert 0.3 < centres[changed].std() < 0.9  # uniform over a pixel each way has 0.58
    assert centres.abs().max() < 1.3


def test_a_line_is_turned_by_at_most_twelve_degrees():
    line = torch.full((500, 41, 41), -1.0)
    line[:, 20, :] = 1
    turned = Distort((41, 41), 1.0)(None, line.flatten(1), torch.zeros(500)).reshape(line.shape)
    tops = (turned + 1).argmax(dim=1).float()  # (500, 41) the row of the line in every column
    slopes = (tops[:, 35] - tops[:, 5]) / 30
    assert 0.2 < slopes.abs().max() <= 0.3  # tan 12 degrees = 0.21, sizes and rounding beside it
    assert slopes.min() < -0.15
    assert slopes.max() > 0.15


@pytest.mark.parametrize(
    "moves", [{"shift": 0.5}, {"distort": 0.2}, {"shift": 0.3, "distort": 0.2}], ids=str
)
def test_a_moved_and_attacked_run_goes_on_to_the_same_bits(tmp_path, moves):
    chosen = ROBUST.replace(**moves)
    whole = denseam.train(chosen, dataset())
    assert not torch.equal(whole.model.memories, denseam.train(ROBUST, dataset()).model.memories)
    with pytest.raises(Stop):
        denseam.train(chosen, dataset(), tmp_path, callbacks=[StopAt(2, 1)])
    assert_same_run(denseam.train(chosen, dataset(), tmp_path), whole)


def test_attacks_pass_through_the_front():
    front = Pixels((5, 5), (7, 7))
    wide = recipe(3, 2, objective="cross-entropy", logit_scale=20.0, adversarial="linf:0.1")
    result = denseam.train(wide, images(), front=front)
    assert result.records[-1].attack["without_direction"] == 0
    assert result.model.n_inputs == 25


def test_moves_follow_each_other_without_an_attack():
    plain = ROBUST.replace(adversarial="")
    ends = [
        denseam.train(plain.replace(**moves), dataset()).model.memories
        for moves in ({"shift": 0.2}, {"distort": 0.2}, {"shift": 0.2, "distort": 0.2})
    ]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(ends, 2))


@pytest.mark.parametrize(
    "text", ["l2", "l2:", "l2:0", "l2:-1", "l2:nan", "l3:1", "1.5", "l2:1.5;linf:0.3", ":", 3, None]
)
def test_sizes_and_norms_that_mean_nothing_are_refused(text):
    with pytest.raises(InputError, match="adversarial"):
        Recipe.paper(3, adversarial=text)


@pytest.mark.parametrize(
    ("field", "value"), [("steps", 0), ("mix", 0), ("mix", 1.5), ("ramp", -1), ("step", 0)]
)
def test_options_out_of_range_are_refused(field, value):
    with pytest.raises(InputError, match=field):
        Adversarial("l2", 1.0, **{field: value})


@pytest.mark.parametrize("fields", [{"adversarial": "l2:0.5"}, {"shift": 0.5}, {"distort": 0.5}])
def test_rows_of_numbers_are_no_pictures_to_attack_or_to_move(fields):
    rows = FeatureSet(9 * torch.eye(3).repeat(5, 1), torch.arange(15) % 3, 3, name="rows")
    with pytest.raises(InputError, match="wanted pictures"):
        denseam.train(recipe(3, 1, **fields), rows)


def test_several_norms_are_read_from_one_text():
    chosen = Recipe.paper(3, 10, adversarial=" L2:1.5, linf:0.3 ", adversarial_steps=7)
    rule = chosen.batch_rule((5, 5))
    assert rule.threats == (Threat("l2", 1.5), Threat("linf", 0.3))
    assert (rule.steps, rule.ramp) == (7, 5)
    assert Recipe.paper(3).batch_rule((5, 5)) is None


def test_training_goes_on_from_another_network(tmp_path, model):
    first = recipe(3, 1, objective="cross-entropy", logit_scale=20.0, learning_rate=1e-9)
    result = denseam.train(first, images(), tmp_path, start=model)
    assert torch.allclose(result.model.memories, model.memories, rtol=0, atol=1e-6)
    assert denseam.train(first, images(), tmp_path, start=model).records == result.records
    with pytest.raises(denseam.errors.RunFolderError, match="began from other memories"):
        denseam.train(first, images(), tmp_path)


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (recipe(2, 1), "energy"),
        (recipe(3, 1, n_memories=11), "memories"),
        (Recipe.paper(network="relu", epochs=1, n_memories=12, per_class=5), "kind"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(model, other, name):
    with pytest.raises(InputError, match=name):
        denseam.train(other, images(), start=model)

"""What a guard is worth: trials, the well-known detectors, the attacker who knows it."""

import json

import pytest
import torch

from denseam import Guard, GuardedModel, minimum_norm
from denseam.data import ImageSet
from denseam.errors import InputError
from denseam.guard.adaptive import _Search, accept_noise, adaptive_attack
from denseam.guard.evaluation import Trial, evaluate_guard, make_trials
from denseam.guard.junk import JUNK_SETS, junk_sets
from denseam.guard.known import KNOWN

from . import small


def test_junk_sets_are_what_they_are_called():
    images = small.clean(40)
    made = junk_sets(images, seed=3)
    assert list(made) == list(JUNK_SETS)
    visible = images.visible()
    for name, junk in made.items():
        assert junk.shape == (101 if name.startswith("blank") else 40, small.N), name
        assert float(junk.abs().max()) <= 1
        assert torch.equal(junk, junk_sets(images, seed=3)[name])
    assert torch.equal(made["inverted"], -visible)
    blanks = made["blank, 101 gray levels"]
    assert torch.equal(blanks.amin(dim=1), blanks.amax(dim=1))
    assert {-1.0, 0.0, 1.0} <= {round(x, 6) for x in blanks[:, 0].tolist()}
    for name in ("pixels permuted, each image", "pixels permuted, all alike"):
        assert torch.equal(made[name].sort(dim=1).values, visible.sort(dim=1).values)
        assert not torch.equal(made[name], visible)
    alike, apart = made["pixels permuted, all alike"], made["pixels permuted, each image"]
    torch.testing.assert_close(alike @ alike.T, visible @ visible.T)
    assert not torch.allclose(apart @ apart.T, visible @ visible.T, atol=0.1)
    assert 0.005 < float((made["specks, 2 %"] > 0).double().mean()) < 0.05
    assert not torch.equal(made["uniform noise"], junk_sets(images, seed=4)["uniform noise"])


@pytest.fixture(scope="module")
def evaluation():
    guard = small.guard()
    clean = small.clean(100, seed=4)
    trials = make_trials(clean.subset(slice(12)), {"n6": small.memories()}, eps=(0.3,))
    return guard, clean, trials, evaluate_guard(guard, clean, trials)


def test_trials_are_of_every_kind(evaluation):
    _, _, trials, _ = evaluation
    names = [trial.name for trial in trials]
    assert names[: len(JUNK_SETS)] == list(JUNK_SETS)
    assert "boundary of n6" in names
    assert "FGSM of n6, 0.15" in names
    for trial in trials:
        assert trial.visible.shape[1] == small.N
        assert (trial.labels is None) == (trial.kind == "junk")
        if trial.labels is not None:
            assert len(trial.labels) == len(trial.visible)
    boundary = next(t for t in trials if t.name == "boundary of n6")
    assert not bool((small.memories().predict(boundary.visible) == boundary.labels).any())


def test_only_what_was_right_can_be_led_astray():
    clean = small.clean(6, seed=4)
    labels = clean.labels.clone()
    labels[0] = (labels[0] + 1) % small.C
    mislabelled = ImageSet(clean.images, labels, small.C)
    trials = make_trials(mislabelled, {"n6": small.memories()}, eps=())
    boundary = next(trial for trial in trials if trial.name == "boundary of n6")
    assert boundary.labels.tolist() == labels[1:].tolist()


def test_findings_are_those_of_the_verdicts(evaluation):
    guard, clean, trials, found = evaluation
    assert found.threshold == guard.threshold
    for trial, row in zip(trials, found.trials, strict=True):
        said = guard.predict(trial.visible)
        assert row.rejected == pytest.approx(said.n_rejected / len(said))
        assert row.low <= row.rejected <= row.high
        assert torch.equal(found.trial_scores[trial.name], said.scores)
        if trial.labels is None:
            assert row.right is row.wrong is row.alone is None
        else:
            assert row.rejected + row.right + row.wrong == pytest.approx(1)
            right = said.accepted & (said.labels == trial.labels)
            assert row.right == pytest.approx(float(right.double().mean()))
            wrong = guard.classifier.labels(trial.visible) != trial.labels
            assert row.alone == pytest.approx(float(wrong.double().mean()))
    wrong = guard.classifier.labels(clean.visible()) != clean.labels
    assert float(found.curve.risk[-1]) == pytest.approx(float(wrong.double().mean()))
    assert found.clean.separation is None
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["trials"][0]["kind"] == "junk"


def test_junk_is_found(evaluation):
    *_, found = evaluation
    rejected = {row.name: row.rejected for row in found.trials}
    assert rejected["normal noise, deviation 0.1"] == 1
    assert rejected["blank, 101 gray levels"] > 0.95
    assert found.clean.rejected < 0.15


def test_digits_that_are_no_junk_have_no_separation():
    guard, clean = small.guard(), small.clean(50, seed=4)
    found = evaluate_guard(guard, clean, [Trial("others", "other", clean.visible(), clean.labels)])
    assert found.trials[0].separation is None
    assert found.trials[0].rejected == found.clean.rejected


def test_a_trial_of_no_image_is_refused():
    guard, clean = small.guard(), small.clean(50, seed=4)
    for kind in ("junk", "other"):
        with pytest.raises(InputError, match="'nothing' has no image"):
            evaluate_guard(guard, clean, [Trial("nothing", kind, torch.empty(0, small.N))])


def _generator():
    return torch.Generator().manual_seed(0)


# ---- the well-known detectors ------------------------------------------------------------------


@pytest.mark.parametrize("name", KNOWN)
def test_well_known_detectors(name):
    images = small.clean(300, seed=5)
    scorer = KNOWN[name](small.memories(2.0), images.visible(), images.labels)
    guard = Guard(scorer, small.memories(2.0), image_shape=small.SHAPE)
    guard.calibrate(small.clean(), 0.05)
    # Between two patterns; the softmax knows no other junk.
    between = 0.5 * (small.patterns()[:1] + small.patterns()[1:2])
    found = guard.predict(between + 0.05 * torch.randn(50, small.N, generator=_generator()))
    assert found.n_rejected > 40
    assert guard.predict(small.clean(200, seed=6)).n_rejected < 30


def test_well_known_scores_by_hand():
    images = small.clean(60, seed=5)
    model = small.memories(2.0)
    visible, some = images.visible(), images.visible()[:5]
    softmax = KNOWN["maximum softmax"](model, visible, images.labels)
    logits = softmax.scale * model.exact_scores(some).detach()
    wanted = (1 - torch.softmax(logits, dim=1).amax(dim=1)).log()
    torch.testing.assert_close(softmax.score(some), wanted, atol=1e-6, rtol=1e-4)
    energy = KNOWN["energy score"](model, visible, images.labels)
    torch.testing.assert_close(energy.score(some), -logits.logsumexp(dim=1))
    hidden = torch.relu(visible @ model.visible_memories.T / model.temperature).detach()
    unit = hidden / hidden.norm(dim=1, keepdim=True)
    near = KNOWN["nearest neighbours"](model, visible, images.labels, k=3)
    apart = torch.cdist(unit[:5].double(), unit.double()).sort(dim=1).values[:, 2]
    torch.testing.assert_close(near.score(some), apart, atol=1e-3, rtol=0)
    far = KNOWN["Mahalanobis"](model, visible, images.labels)
    f = hidden.double()
    means = torch.stack([f[images.labels == c].mean(dim=0) for c in range(small.C)])
    d = f - means[images.labels]
    S = d.T @ d / len(d)
    S += 1e-3 * S.diagonal().mean() * torch.eye(len(S))
    a = f[:5, None] - means
    wanted = torch.einsum("bci,ij,bcj->bc", a, torch.linalg.inv(S), a).amin(dim=1)
    torch.testing.assert_close(far.score(some), wanted)


# ---- the attacker who knows ----------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_attacker_gets_through(norm):
    guard, images = small.guard(), small.clean(12, seed=4)
    visible, labels = images.visible(), images.labels
    pool = small.clean(60, seed=8).visible()
    found = adaptive_attack(guard, visible, labels, pool=pool, norm=norm, steps=60, restarts=2)
    said = guard.predict(found.images)
    wrong = said.accepted & (said.labels != labels)
    assert torch.equal(found.success, wrong)
    assert bool(found.success.all())
    assert float(found.images.abs().max()) <= 1
    moved = (found.images - visible).double()
    far = moved.norm(dim=1) if norm == "l2" else moved.abs().amax(dim=1)
    torch.testing.assert_close(found.distance, far)
    # Nearer than the nearest accepted image with another label, where the search began.
    others = guard.predict(pool)
    apart = pool[None] - visible[:, None]
    size = apart.norm(dim=2) if norm == "l2" else apart.abs().amax(dim=2)
    usable = others.accepted[None] & (others.labels[None] != labels[:, None])
    nearest = size.masked_fill(~usable, torch.inf).amin(dim=1)
    assert bool((found.distance <= nearest + 1e-6).all())
    assert float(found.distance.median()) < 0.9 * float(nearest.median())
    assert found.rate(float(found.distance.max())) == 1
    assert found.rate(0) == 0


def test_knowing_the_guard_is_no_worse_than_not_knowing_it():
    guard, images = small.guard("activity"), small.clean(12, seed=4)
    weak = torch.linspace(0, 1, 400)[:, None] * small.clean().visible()
    guard.calibrate(weak, 0.01)  # lets through what lies between two patterns
    visible, labels = images.visible(), images.labels
    alone = minimum_norm(guard.classifier.network, visible, labels, eight_bit=False)
    said = guard.predict(alone.images)
    through = said.accepted & (said.labels != labels)
    assert bool(through.any())
    found = adaptive_attack(guard, visible, labels, steps=1, restarts=1)
    assert bool((found.distance[through] <= alone.distance[through] * 1.001).all())


def test_a_budget_is_kept_to():
    guard, images = small.guard(), small.clean(6, seed=4)
    found = adaptive_attack(
        guard, images.visible(), images.labels, steps=20, restarts=1, budget=0.1
    )
    assert not bool(found.success.any())
    assert bool(found.distance.isinf().all())
    assert torch.equal(found.images, images.visible())
    assert found.rate(0.1) == 0


def test_what_is_found_is_drawn_back(monkeypatch):
    guard, images = small.guard(), small.clean(8, seed=4)
    pool = small.clean(60, seed=8).visible()

    def attack():
        found = adaptive_attack(
            guard, images.visible(), images.labels, pool=pool, steps=1, restarts=2
        )
        return found.distance

    drawn = attack()
    monkeypatch.setattr(_Search, "draw_back", lambda self: None)
    plain = attack()
    assert bool((drawn <= plain).all())
    assert float(drawn.mean()) < 0.98 * float(plain.mean())


def test_only_what_is_nearer_is_kept():
    guard, images = small.guard(), small.clean(4, seed=4)
    search = _Search(guard, images.visible(), (images.labels + 1) % small.C, "l2")
    accepted = guard.predict(images).accepted
    near = images.visible().clone()
    near[:, 0] = 0.99 * near[:, 0]
    for each in (search.clean, near):
        search.keep(each)
    assert search.distance[accepted].tolist() == [0] * int(accepted.sum()) != []
    assert torch.equal(search.best, search.clean)


def test_more_restarts_find_no_less():
    guard, images = small.guard(), small.clean(8, seed=4)
    pool = small.clean(60, seed=8).visible()
    few, more = (
        adaptive_attack(guard, images.visible(), images.labels, pool=pool, steps=20, restarts=k)
        for k in (1, 3)
    )
    assert bool((more.distance <= few.distance).all())


def test_what_is_accepted_and_wrong_as_it_is_costs_nothing():
    guard, images = small.guard(), small.clean(8, seed=4)
    accepted = guard.predict(images).accepted
    wrong = (images.labels + 1) % small.C
    found = adaptive_attack(guard, images.visible(), wrong, steps=1, restarts=1)
    assert torch.equal(found.distance[accepted], torch.zeros(int(accepted.sum())).double())


def test_noise_made_acceptable():
    guard = small.guard()
    noise = 0.1 * torch.randn(8, small.N)
    assert guard.predict(noise).n_rejected == 8
    images, accepted = accept_noise(guard, noise, steps=200, step=0.3)
    assert torch.equal(guard.predict(images).accepted, accepted)
    assert bool(accepted.any())
    assert float(images.abs().max()) <= 1


def test_guarded_models_are_attacked_by_anyone():
    guard, images = small.guard(), small.clean(6, seed=4)
    model = GuardedModel(guard)
    unit = (images.images / 2 + 0.5)[:, None].requires_grad_()
    loss = torch.nn.functional.cross_entropy(model(unit), images.labels)
    (slope,) = torch.autograd.grad(loss, unit)
    with torch.no_grad():
        pushed = model((unit + 0.05 * slope.sign()).clamp(0, 1))
    assert bool(torch.nn.functional.cross_entropy(pushed, images.labels) > loss)


def test_what_does_not_fit_is_refused():
    guard, images = small.guard(), small.clean(6, seed=4)
    for changes in ({"norm": "l1"}, {"steps": 0}, {"restarts": 0}):
        with pytest.raises(InputError):
            adaptive_attack(guard, images.visible(), images.labels, **changes)
    with pytest.raises(InputError):
        adaptive_attack(guard, images.visible()[:, :5], images.labels)
    with pytest.raises(InputError):
        adaptive_attack(guard, images.visible(), images.labels[:3])
    with pytest.raises(InputError, match="k = 0"):
        KNOWN["nearest neighbours"](small.memories(), images.visible(), images.labels, k=0)
    with pytest.raises(InputError, match="k = 9"):
        KNOWN["nearest neighbours"](small.memories(), images.visible(), images.labels, k=9)

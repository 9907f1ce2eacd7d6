"""The masking audit: what hides gradients is caught, what does not is left in peace."""

import itertools
import json
from xml.etree import ElementTree as ET

import pytest
import torch
from torch import Tensor, nn

import denseam
from denseam.analysis import audit
from denseam.analysis.audit import surfaces_of
from denseam.analysis.audit.run import _Work
from denseam.analysis.audit.surfaces import climb, facts_of_gradient
from denseam.data import ImageSet
from denseam.errors import InputError


class Scaled(nn.Module):
    """Another network's logits times a factor: the same labels, and a softmax without slope."""

    def __init__(self, network: nn.Module, factor: float) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, images: Tensor) -> Tensor:
        return self.factor * self.network(images)


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return denseam.data.load("mnist").test.subset(slice(40))


@pytest.fixture(scope="module")
def ordinary() -> nn.Module:
    """A small network, trained as usual."""
    torch.manual_seed(0)
    images = denseam.data.load("mnist").train.subset(slice(10_000))
    network = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    visible = images.visible()
    for _ in range(4):
        for rows in torch.randperm(len(images)).split(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(visible[rows]), images.labels[rows]).backward()
            optimizer.step()
    return network.eval()


@pytest.fixture(scope="module")
def of_ordinary(ordinary, digits):
    return audit(ordinary, digits, 0.1, queries=300)


@pytest.fixture(scope="module")
def of_masked(ordinary, digits):
    return audit(Scaled(ordinary, 1e4), digits, 0.1, queries=300)


def test_an_ordinary_network_is_believed(of_ordinary):
    assert of_ordinary.believed
    assert of_ordinary.masked == ()
    assert of_ordinary.flagged == ()
    assert of_ordinary.clean > 0.85
    assert of_ordinary.headline.accuracy < of_ordinary.clean - 0.2


def test_the_same_network_masked_is_caught(of_ordinary, of_masked):
    assert not of_masked.believed
    assert of_masked.masked == ("logits",)
    (surface,) = of_masked.surfaces
    assert surface.start.zero > 0.5
    assert surface.accuracy > of_ordinary.surfaces[0].accuracy + 0.2
    flagged = {check.name for check in of_masked.flagged}
    assert {"gradients", "black box", "unbounded", "overstated"} <= flagged
    # Attacks that need no slope find the same as without the mask.
    assert of_masked.headline.accuracy == pytest.approx(of_ordinary.headline.accuracy, abs=0.02)
    torch.testing.assert_close(
        of_masked.distances["l2"], of_ordinary.distances["l2"], rtol=2e-3, atol=1e-4
    )


def test_the_headline_is_the_best_of_all_attacks_image_by_image(of_ordinary):
    attempts = [*of_ordinary.others]
    for surface in of_ordinary.surfaces:
        attempts += [surface.one_step, surface.iterative]
    assert of_ordinary.headline.accuracy <= min(each.accuracy for each in attempts)
    low, high = of_ordinary.headline.interval
    assert low <= of_ordinary.headline.accuracy <= high
    assert all(each.invalid == 0 for each in attempts)


def test_accuracy_falls_to_nothing_as_the_size_grows(of_ordinary):
    sizes, left = zip(*of_ordinary.surfaces[0].budget, strict=True)
    assert sizes == tuple(sorted(sizes))
    assert 0.1 in sizes
    assert sizes[-1] == 2.0
    assert all(a >= b for a, b in itertools.pairwise(left))
    assert left[-1] == 0


@pytest.mark.slow
def test_the_paper_s_objective_hides_gradients_at_n_30_and_the_log_energy_does_not(digits):
    found = audit(denseam.load_pretrained("mnist-n30"), digits, queries=200)
    objective, *_, scaled = found.surfaces
    assert objective.name == "tanh, the paper's objective"
    assert objective.start.zero > 0.1
    assert objective.only_float32 == objective.start.zero
    assert objective.name in found.masked
    assert objective.accuracy > found.headline.accuracy + 0.2
    assert found.believed
    assert scaled.start.useless == scaled.path.useless == 0
    assert scaled.accuracy < found.headline.accuracy + 0.05


def test_a_substitute_that_fools_it_better_is_told_of(ordinary, digits):
    masked = Scaled(ordinary, 1e4)
    found = audit(masked, digits, 0.1, queries=20, substitutes={"plain": ordinary})
    transfer = [check for check in found.checks if check.name == "transfer"]
    assert [check.flagged for check in transfer] == [True]
    assert found.others[-1].name == "transfer from plain"
    alone = audit(ordinary, digits, 0.1, queries=20)
    assert [c.verdict for c in alone.checks if c.name == "transfer"] == ["not checked"]


def test_gradients_are_counted_by_what_is_wrong_with_them():
    tiny = torch.finfo(torch.float32).tiny
    gradient = torch.tensor(
        [[0.0, 0.0], [0.0, tiny / 4], [1.0, torch.nan], [torch.inf, 0.0], [0.0, -1.0]]
    )
    facts = facts_of_gradient(gradient)
    assert (facts.count, facts.zero, facts.nonfinite, facts.subnormal) == (5, 0.2, 0.4, 0.2)
    assert facts.useless == pytest.approx(0.8)


def test_what_is_no_image_is_no_success(ordinary, digits):
    work = _Work(ordinary, digits, 0.1, None)
    clean = work.visible
    for spoil in (torch.nan, torch.inf, 1.2):
        images = clean.clone()
        images[:, 0] = spoil
        right, invalid = work.outlives(images, 0.1)
        assert invalid == len(clean)
        assert torch.equal(right, work.right)
    far = (clean + 0.11).clamp(-1, 1)
    assert work.outlives(far, 0.1)[1] == len(clean)
    assert work.outlives((clean + 0.1).clamp(-1, 1), 0.1)[1] == 0


def test_a_tie_counts_against_the_model(digits):
    even = nn.Linear(784, 10)
    nn.init.zeros_(even.weight)
    nn.init.zeros_(even.bias)
    work = _Work(even, digits, 0.1, None)
    assert not work.right.any()


def test_one_step_is_the_sign_of_the_gradient(ordinary, digits):
    v, labels = digits.visible(), digits.labels
    (surface,) = surfaces_of(ordinary, v)
    at = v.clone().requires_grad_()
    nn.functional.cross_entropy(ordinary(at), labels, reduction="sum").backward()
    found = climb(surface, v, labels, 0.1, 1, 0.1, lambda images, own: own >= 0)
    torch.testing.assert_close(found.images, (v + 0.1 * at.grad.sign()).clamp(-1, 1))
    assert found.path.count == len(v)


def test_images_stay_where_they_are_first_wrong(ordinary, digits):
    v, labels = digits.visible(), digits.labels
    (surface,) = surfaces_of(ordinary, v)
    found = climb(surface, v, labels, 0.5, 10, 0.1, lambda images, own: own < 0)
    assert torch.equal(found.images, v)
    assert found.path.count == 0


def test_networks_of_the_package_have_all_their_heads():
    v = torch.rand(5, 6) * 2 - 1
    dam = denseam.DenseAM(6, 3, 7, 3, 4.0)
    assert [s.name for s in surfaces_of(dam, v)] == [
        "tanh, the paper's objective", "tanh, cross-entropy", "energy gap", "log-energy",
        "log-energy, scaled",
    ]  # fmt: skip
    relu = denseam.baselines.ReLUNetwork(6, 3, 7)
    assert [s.name for s in surfaces_of(relu, v)][2:] == ["scores", "scores, scaled"]
    scaled = surfaces_of(dam, v)[-1].scores(v).detach().double().topk(2, dim=1).values
    assert float((scaled[:, 0] - scaled[:, 1]).median()) == pytest.approx(8.0, rel=1e-3)


def test_it_is_told_what_is_being_done(ordinary, digits):
    told = []
    audit(
        ordinary, digits.subset(slice(4)), 0.1, queries=2,
        on_progress=lambda *now: told.append(now),
    )  # fmt: skip
    assert told[0] == ("logits", 0, len(told) - 1)
    assert told[-1] == ("done", len(told) - 1, len(told) - 1)
    assert [done for _, done, _ in told] == list(range(len(told)))


def test_everything_is_json(of_masked):
    found = json.loads(json.dumps(of_masked.to_json(), allow_nan=False))
    assert found["masked"] == ["logits"]
    assert found["believed"] is False
    assert len(found["distances"]["l2"]) == found["count"] == 40


@pytest.mark.parametrize("eps", [0.0, -1.0, 2.5])
def test_a_size_out_of_range_is_refused(ordinary, digits, eps):
    with pytest.raises(InputError, match="eps = "):
        audit(ordinary, digits, eps)


def test_images_of_which_none_is_right_leave_nothing_to_attack(ordinary, digits):
    wrong = (ordinary(digits.visible()).argmax(dim=1) + 1) % 10
    with pytest.raises(InputError, match="none of its 40 images is labelled rightly"):
        audit(ordinary, ImageSet(digits.images, wrong, 10), 0.1)


def test_the_page_is_whole_and_asks_nothing_of_the_network(of_masked, of_ordinary, tmp_path):
    from denseam.figures import audit as figure
    from denseam.study.report.audit import render_audit

    for found, words in ((of_masked, "No number measured"), (of_ordinary, "can be believed")):
        figure.save(found, tmp_path / "audit.png")
        page = render_audit(
            found, (tmp_path / "audit.png").read_bytes(), name="<b>net</b>",
            command="denseam audit net", dtype="float32",
        )  # fmt: skip
        ET.fromstring(page.removeprefix("<!DOCTYPE html>\n"))
        assert words in page
        assert "<b>net" not in page
        assert 'src="http' not in page
        for check in found.checks:
            assert check.says.split(";")[0] in page

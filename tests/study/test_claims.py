"""Verdicts follow from rows by the rule that each claim states."""

from typing import get_args

import pytest

from denseam.study.claims import CLAIMS, Verdict, judged
from denseam.study.findings import Row

BY_ID = {claim.id: claim for claim in CLAIMS}
EPSILON = 1e-9


def row(id_, value, low=None, high=None):
    return Row(id_, "words", value, "denseam bench", "%", low, high)


def judge(claim, rows, *, comparable=True):
    (found,) = judged([claim], {each.id: each for each in rows}, comparable=comparable)
    return found


def verdict(claim_id, *values):
    """Of rows with these values, or with (value, low, high), in the order of the claim."""
    claim = BY_ID[claim_id]
    found = [v if isinstance(v, tuple) else (v,) for v in values]
    return judge(claim, [row(i, *v) for i, v in zip(claim.rows, found, strict=True)])["verdict"]


def test_claims_have_ids_of_their_own_and_name_no_row_twice():
    assert len(BY_ID) == len(CLAIMS)
    for claim in CLAIMS:
        assert len({*claim.rows, *claim.beside}) == len(claim.rows) + len(claim.beside)
        assert (claim.judge is None) == (not claim.rows) == (not claim.rule)


@pytest.mark.parametrize(("name", "paper"), [("n2", 0.0151), ("n3", 0.0144), ("n20", 0.0161),
                                             ("n30", 0.0180)])  # fmt: skip
def test_an_error_is_better_up_to_the_papers_and_the_same_while_the_interval_reaches_it(
    name, paper
):
    id_, above = f"error-{name}", paper + 0.001
    assert verdict(id_, paper) == "better"
    assert verdict(id_, (paper, paper - 0.1, paper + 0.1)) == "better"
    assert verdict(id_, (above, paper, 1.0)) == "reproduced"
    assert verdict(id_, (above, paper + EPSILON, 1.0)) == "not reproduced"
    assert verdict(id_, above) == "not reproduced"


@pytest.mark.parametrize(
    ("id_", "least"),
    [("crossing", 0.99), ("transfer-own", 0.98), ("transfer-down", 0.25), ("rubbish-own", 0.95),
     ("rubbish-down", 0.85), ("sign-sure-small", 0.9), ("pair", 0.95)],
)  # fmt: skip
def test_every_row_reaches_the_least_value(id_, least):
    count = len(BY_ID[id_].rows)
    assert verdict(id_, *[least] * count) == "reproduced"
    for i in range(count):
        values = [1.0] * count
        values[i] = least - EPSILON
        assert verdict(id_, *values) == "not reproduced"


@pytest.mark.parametrize(
    ("id_", "most"), [("transfer-up", 0.05), ("rubbish-up", 0.15), ("sign-sure-large", 0.25)]
)
def test_no_row_exceeds_the_largest_value(id_, most):
    count = len(BY_ID[id_].rows)
    assert verdict(id_, *[most] * count) == "reproduced"
    for i in range(count):
        values = [0.0] * count
        values[i] = most + EPSILON
        assert verdict(id_, *values) == "not reproduced"


def test_better_where_every_row_fulfils_the_harder_condition():
    assert verdict("transfer-up", 0.03, 0.03) == "better"
    assert verdict("transfer-up", 0.03, 0.03 + EPSILON) == "reproduced"
    assert verdict("transfer-up", (0.02, 0.01, 0.03), 0.03) == "better"
    assert verdict("transfer-up", (0.02, 0.01, 0.03 + EPSILON), 0.03) == "reproduced"
    assert verdict("transfer-up", 0.0, 0.05 + EPSILON) == "not reproduced"
    assert verdict("rubbish-up", 0, 0, 0, 0) == "reproduced"


@pytest.mark.parametrize(("id_", "bound"), [("one-vote", 0.4), ("one-contributor", 0.8)])
def test_a_value_must_exceed_its_bound(id_, bound):
    assert verdict(id_, bound) == "not reproduced"
    assert verdict(id_, bound + EPSILON) == "reproduced"


@pytest.mark.parametrize(("name", "paper"), [("n2", 4.7), ("n3", 4.6), ("n20", 4.0), ("n30", 26.0)])
def test_beta_within_a_quarter(name, paper):
    for side in (0.75, 1.25):
        inside, outside = paper + (side - 1) * paper * (1 - EPSILON), paper + (side - 1) * paper
        assert verdict(f"beta-{name}", inside) == "reproduced"
        assert verdict(f"beta-{name}", outside + (side - 1) * EPSILON) == "not reproduced"


def test_exactly_a_quarter_is_within():
    for beta in (19.5, 32.5):
        assert verdict("beta-n30", beta) == "reproduced"


HALVES = ("memories", "rubbish-looks", "audited")


@pytest.mark.parametrize("id_", HALVES)
def test_the_first_half_of_the_rows_is_above_the_second(id_):
    assert verdict(id_, 0.5 + EPSILON, 0.9, 0.5, 0.1) == "reproduced"
    assert verdict(id_, 0.9, 0.5, 0.5, 0.1) == "not reproduced"
    assert verdict(id_, 0.5, 0.9, 0.1, 0.5) == "not reproduced"
    assert verdict(id_, 0.9, 0.4, 0.5, 0.1) == "not reproduced"
    assert verdict(id_, 0.1, 0.1, 0.9, 0.9) == "not reproduced"


def test_large_n_comes_first_where_it_resembles_images_and_last_where_it_errs():
    for id_ in HALVES:
        powers = [next(p for p in name.split("/") if p[1:].isdigit()) for name in BY_ID[id_].rows]
        assert halves(powers) == (["n20", "n30"], ["n2", "n3"])


def test_fig8_has_to_hold_through_both_heads():
    above, below = (0.5 + EPSILON, 0.9, 0.5, 0.1), (0.5, 0.9, 0.5, 0.1)
    assert verdict("sign-slower", *above, *above) == "reproduced"
    assert verdict("sign-slower", *below, *above) == "not reproduced"
    assert verdict("sign-slower", *above, *below) == "not reproduced"
    paths = [name.split("/") for name in BY_ID["sign-slower"].rows]
    assert [path[2] for path in paths] == ["tanh"] * 4 + ["log_energy"] * 4
    assert [path[3] for path in paths] == ["n2", "n3", "n20", "n30"] * 2


@pytest.mark.parametrize("id_", ["sign-bim", "sign-llc"])
def test_similar_is_within_15_points_of_one_step_model_by_model(id_):
    here, there = [0.65 - EPSILON, 0.35 + EPSILON, 0.15, 0.0], [0.5, 0.5, 0.0, 0.15]
    assert verdict(id_, *here, *there) == "reproduced"
    for i, far in enumerate((0.65 + EPSILON, 0.35 - EPSILON, 0.15 + EPSILON, 0.3 + EPSILON)):
        values = [*here[:i], far, *here[i + 1 :]]
        assert verdict(id_, *values, *there) == "not reproduced"
    one, other = ([name.split("/") for name in half] for half in halves(BY_ID[id_].rows))
    assert [path[3] for path in one] == [path[3] for path in other] == ["n2", "n3", "n20", "n30"]
    assert {(path[1], path[4]) for path in one} == {(id_.removeprefix("sign-"), "0.3")}
    assert {(path[1], path[4]) for path in other} == {("fgsm-few", "0.3")}


def halves(rows):
    return rows[: len(rows) // 2], rows[len(rows) // 2 :]


def test_the_error_falls_where_the_intervals_lie_apart():
    apart, touching = [(0.5, 0.2 + EPSILON, 0.9), (0.1, 0.0, 0.2)], [(0.5, 0.2, 0.9), (0.1, 0, 0.2)]
    assert verdict("error-falls", *apart * 4) == "reproduced"
    assert verdict("error-falls", *apart * 3, *touching) == "not reproduced"
    assert verdict("error-falls", *touching, *apart * 3) == "not reproduced"
    assert verdict("error-falls", *apart * 3, 0.5, 0.1) == "not reproduced"
    assert verdict("error-falls", *apart * 3, (0.1, 0.0, 0.2), (0.5, 0.3, 0.9)) == "not reproduced"


def test_networks_rise_from_relu_over_polynomials_to_memories():
    assert verdict("networks", 0.5, 0.6, 0.7, 0.65) == "reproduced"
    assert verdict("networks", 0.6, 0.6, 0.7, 0.8) == "not reproduced"
    assert verdict("networks", 0.5, 0.7, 0.7, 0.8) == "not reproduced"
    assert verdict("networks", 0.5, 0.6, 0.8, 0.6) == "not reproduced"
    names = [name.split("/")[2] for name in BY_ID["networks"].rows]
    assert names == ["relu", "polynomial3", "n20", "n30"]


def test_rbf_networks_are_farther_from_wrong_images_and_err_more():
    assert verdict("rbf", 0.6, 0.5, 0.03, 0.02) == "reproduced"
    assert verdict("rbf", 0.5, 0.6, 0.03, 0.02) == "not reproduced"
    assert verdict("rbf", 0.6, 0.5, 0.02, 0.02) == "not reproduced"
    assert [name.split("/")[1:] for name in BY_ID["rbf"].rows] == [
        ["l2", "rbf"], ["l2", "relu"], ["error", "rbf"], ["error", "n30"]]  # fmt: skip


def test_the_nearest_neighbour_errs_more_than_large_n():
    assert verdict("nearest", 0.03, 0.02, 0.029) == "reproduced"
    assert verdict("nearest", 0.03, 0.03, 0.02) == "not reproduced"
    assert verdict("nearest", 0.03, 0.02, 0.04) == "not reproduced"
    assert BY_ID["nearest"].rows[0] == "networks/error/nearest"


def test_what_is_not_measured_cannot_be_compared_and_says_why():
    found = judge(BY_ID["readable"], [])
    assert found["verdict"] == "cannot be compared"
    assert found["note"] == BY_ID["readable"].differs != ""


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c.rows], ids=lambda claim: claim.id)
def test_a_claim_without_one_of_its_rows_is_not_compared(claim):
    for missing in claim.rows:
        found = judge(claim, [row(id_, 0.5) for id_ in claim.rows if id_ != missing])
        assert found["verdict"] == "cannot be compared"
        assert found["rows"] == [id_ for id_ in claim.rows if id_ != missing]
        assert found["note"].startswith("Not measured here")


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_other_images_than_the_papers_are_not_compared(claim):
    found = judge(claim, [row(id_, 0.5) for id_ in claim.rows], comparable=False)
    assert found["verdict"] == "cannot be compared"
    assert found["rows"] == list(claim.rows)
    if claim.judge is not None:
        assert found["note"] == "The paper's numbers are for MNIST."


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_rows_beside_are_shown_and_decide_nothing(claim):
    own = [row(id_, 0.5, 0.4, 0.6) for id_ in claim.rows]
    beside = [row(id_, 0.123) for id_ in claim.beside]
    alone, both = judge(claim, own), judge(claim, [*beside, *own])
    assert alone["rows"] == list(claim.rows)
    assert alone["beside"] == []
    assert both == {**alone, "beside": list(claim.beside)}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_judged_claim_says_what_the_paper_says_and_its_rule(claim):
    found = judge(claim, [row(id_, 0.5) for id_ in claim.rows])
    for part in ("id", "where", "claim", "paper"):
        assert found[part] == getattr(claim, part) != ""
    assert found["verdict"] in get_args(Verdict)
    if claim.judge is not None:
        assert f"Counts as reproduced when {claim.rule}." in found["note"]
        assert (claim.differs in found["note"]) or found["verdict"] != "not reproduced"


def test_the_reason_of_a_difference_is_given_only_where_there_is_one():
    claim = BY_ID["error-n2"]
    assert claim.differs
    assert claim.differs in judge(claim, [row("errors/n2", 0.5)])["note"]
    assert claim.differs not in judge(claim, [row("errors/n2", 0.01)])["note"]

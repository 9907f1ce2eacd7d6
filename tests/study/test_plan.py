"""How much of everything."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training import small

from denseam.study import Plan

SIZES = (
    "boundary_images", "sign_images", "iterative_images", "reference_images", "audit_images",
    "network_images", "distance_images",
)  # fmt: skip


def test_the_whole_study_has_the_papers_sizes_and_no_note():
    plan = Plan()
    assert plan.eps == (0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
    assert (plan.boundary_images, plan.sign_images, plan.rubbish_per_class) == (10_000, 10_000, 100)
    assert plan.note() is None


def test_a_quick_study_is_smaller_in_sizes_only_and_says_so():
    plan, quick = Plan(), Plan.smaller()
    assert quick.quick
    assert all(getattr(quick, size) < getattr(plan, size) for size in SIZES)
    sizes = {size: getattr(plan, size) for size in (*SIZES, "rubbish_per_class")}
    assert replace(quick, quick=False, **sizes) == plan


def test_the_note_holds_the_numbers_of_this_plan():
    plan = Plan(
        quick=True, boundary_images=11, rubbish_per_class=22, sign_images=33, iterative_images=44
    )
    assert re.findall(r"\d+(?:,\d{3})*", plan.note()) == [
        "11", "10,000", "22", "100", "33", "10,000", "44", "1000",
    ]  # fmt: skip


@given(st.builds(Plan, st.booleans(), *[st.integers(1, 100)] * 3))
def test_a_plan_fits_into_the_images_there_are(plan):
    train, test = small.images(30), small.images(12)
    plan = replace(plan, reference_images=plan.boundary_images)
    fitted = plan.fitted(train, test, seed=5)
    for size in SIZES:
        there = len(train) if size == "reference_images" else len(test)
        assert getattr(fitted, size) == min(getattr(plan, size), there)
    same = {size: getattr(plan, size) for size in SIZES}
    assert replace(fitted, seed=plan.seed, **same) == plan
    assert fitted.seed == 5
    assert fitted.fitted(train, test, seed=5) == fitted


@pytest.mark.parametrize("plan", [Plan(), Plan.smaller()])
def test_json_and_back(plan):
    fields = json.loads(json.dumps(plan.to_json()))
    lists = {"eps": tuple(fields["eps"]), "rubbish_noise": tuple(fields["rubbish_noise"])}
    assert Plan(**{**fields, **lists}) == plan

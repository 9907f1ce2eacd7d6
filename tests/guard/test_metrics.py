"""AUROC and the others, against scikit-learn and by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from denseam.errors import InputError
from denseam.guard.metrics import coverage_risk, separation

numbers = st.lists(st.integers(-6, 6), min_size=1, max_size=40)


@given(numbers, numbers)
def test_as_scikit_learn_has_it(clean, junk):
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    found = separation(torch.tensor(clean), torch.tensor(junk))
    truth, scores = [0] * len(clean) + [1] * len(junk), clean + junk
    assert found.auroc == pytest.approx(roc_auc_score(truth, scores))
    assert found.aupr == pytest.approx(average_precision_score(truth, scores))
    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert found.fpr_at_95 == pytest.approx(fpr[(tpr >= 0.95 - 1e-12).argmax()])


def test_junk_is_positive():
    found = separation(torch.tensor([0.0, 1, 2, 3]), torch.tensor([2.5, torch.inf]))
    assert found.auroc == pytest.approx(7 / 8)
    assert found.aupr == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert found.fpr_at_95 == 0.25
    assert separation(torch.tensor([5.0]), torch.tensor([1.0])).auroc == 0


def test_coverage_and_risk_by_hand():
    scores = torch.tensor([0.3, 0.1, 0.2, 0.2])
    wrong = torch.tensor([True, False, True, False])
    found = coverage_risk(scores, wrong)
    assert found.coverage.tolist() == [0.25, 0.5, 0.75, 1]
    # The two of score 0.2 share their error of one half.
    torch.testing.assert_close(found.risk, torch.tensor([0, 0.25, 1 / 3, 0.5]).double())
    assert found.area == pytest.approx((0 + 0.25 + 1 / 3 + 0.5) / 4)


def test_what_does_not_fit_is_refused():
    good = torch.zeros(3)
    for bad in (torch.empty(0), torch.tensor([torch.nan]), torch.zeros(2, 2)):
        with pytest.raises(InputError):
            separation(good, bad)
        with pytest.raises(InputError):
            separation(bad, good)
    with pytest.raises(InputError, match="bool"):
        coverage_risk(good, torch.zeros(3))
    with pytest.raises(InputError):
        coverage_risk(good, torch.zeros(2, dtype=torch.bool))

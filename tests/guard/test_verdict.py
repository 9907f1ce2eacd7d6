"""Verdicts: a sequence of records, and the same as tensors."""

import json

import pytest
import torch

from denseam.errors import InputError
from denseam.guard import REASONS, Verdict, Verdicts


def some(count: int = 4) -> Verdicts:
    return Verdicts(
        torch.tensor([3, -1, 1, -1])[:count],
        torch.tensor([True, False, True, False])[:count],
        torch.tensor([0.5, 2.0, 0.1, torch.inf], dtype=torch.float64)[:count],
        torch.tensor([0.4, 0.01, 0.9, 0.01], dtype=torch.float64)[:count],
        torch.tensor([3, 2, 0, -1])[:count],
        torch.tensor([3, -1, 1, -1])[:count],
        (None, "low_confidence", "disagree", "nonfinite")[:count],
    )


def test_is_a_sequence_of_plain_records():
    verdicts = some()
    assert len(verdicts) == 4
    assert verdicts[0] == Verdict(3, True, 0.5, 0.4, 3, 3, None)
    assert verdicts[-1].reason == "nonfinite"
    assert [v.label for v in verdicts] == [3, -1, 1, -1]
    assert isinstance(verdicts[0].label, int)
    assert isinstance(verdicts[0].accepted, bool)
    assert isinstance(verdicts[0].score, float)
    with pytest.raises(IndexError):
        verdicts[4]


def test_slices_and_parts_fit_together():
    verdicts = some()
    again = Verdicts.concatenate([verdicts[:1], verdicts[1:]])
    assert list(again) == list(verdicts)
    assert again.scores.dtype == torch.float64
    with pytest.raises(InputError, match="no part"):
        Verdicts.concatenate([])


def test_counts():
    assert some().n_rejected == 2
    assert some().reason_counts() == {"low_confidence": 1, "disagree": 1, "nonfinite": 1}
    assert set(some().reason_counts()) <= set(REASONS)
    assert repr(some()) == "Verdicts(4 images, 2 junk)"


def test_json_is_finite():
    said = some().to_json()
    assert said[3]["score"] is None
    assert said[0]["score"] == 0.5
    assert json.loads(json.dumps(said, allow_nan=False)) == said


def test_different_lengths_are_refused():
    one = some(1)
    with pytest.raises(InputError, match="different lengths"):
        Verdicts(
            torch.tensor([1, 2]), one.accepted, one.scores, one.p_values, one.detector_labels,
            one.classifier_labels, one.reasons,
        )  # fmt: skip

"""How far images have moved."""

import torch

from denseam.descent.result import Distances


def test_every_pixel_that_changed_counts():
    start = torch.tensor([[0.5, 0.5, 0.5], [-1.0, 0.0, 1.0]])
    end = torch.tensor([[0.8, 0.1, 0.5], [-1.0, 0.0, 1.0]])
    moved = Distances.between(start, end)
    torch.testing.assert_close(moved.l2, torch.tensor([0.5, 0.0]).double())
    torch.testing.assert_close(moved.linf, torch.tensor([0.4, 0.0]).double())
    assert moved.l0.tolist() == [2, 0]

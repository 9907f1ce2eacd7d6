"""Figures of accuracy against the size of an attack: curves that say what the records say."""

import pytest
import torch
from matplotlib.figure import Figure

from denseam.data import ImageSet
from denseam.errors import InputError
from denseam.figures import audit, budget
from denseam.figures.audit import AuditCurves
from denseam.figures.budget import BudgetCurves
from denseam.figures.records import budget_curves

FAR = torch.inf


def drawn(module, record):
    ax = Figure().subplots()
    module.plot(record, ax)
    return ax


def curves(**changed):
    given = {
        "names": ("a", "b$c"),
        "eps": (0.0, 0.1, 0.5),
        "accuracies": torch.tensor([[1.0, 0.5, 0.0], [1.0, 0.75, 0.25]]),
        "nearest": torch.tensor([0.0, 0.1, 0.2, FAR], dtype=torch.float64),
    }
    return AuditCurves(**{**given, **changed})


def test_heads_are_lines_in_percent():
    ax = drawn(audit, curves())
    assert [list(line.get_ydata()) for line in ax.lines] == [[100, 50, 0], [100, 75, 25]]
    assert all(tuple(line.get_xdata()) == (0.0, 0.1, 0.5) for line in ax.lines)
    assert "4 images" in ax.get_ylabel()
    assert r"b\$c" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_row_of_accuracies_for_each_head_is_needed():
    with pytest.raises(InputError, match=r"accuracies must have shape \(1, 3\), got \(2, 3\)"):
        curves(names=("a",))


def test_a_budget_leaves_images_that_are_farther_away():
    record = BudgetCurves(("n = 2",), (torch.tensor([0.0, 1.0, 2.0, FAR]),), "l2")
    (line,) = drawn(budget, record).lines
    left = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
    assert left[0.0] == 75
    sizes = sorted(left)
    assert [left[next(s for s in sizes if s > size)] for size in (0.5, 1.0, 2.0)] == [75, 50, 25]


def test_budget_curves_need_sets_of_the_minimum_norm():
    other = ImageSet(torch.zeros(2, 3, 3), torch.tensor([0, 1]), 2)
    with pytest.raises(InputError, match="--method minimum"):
        budget_curves([other])


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_both_figures_are_written(tmp_path, suffix):
    for name, save, record in (
        ("a", audit.save, curves()),
        ("b", budget.save, BudgetCurves(("x",), (torch.ones(3),), "linf")),
    ):
        path = tmp_path / f"{name}.{suffix}"
        save(record, path)
        assert path.stat().st_size > 1000

"""README.md and docs/tour.md: their Python runs from top to bottom, their links lead somewhere."""

import re
from pathlib import Path

import pytest
import torch
from tests.pages import run_code

import denseam
from denseam import Recipe
from denseam.descent import boundary_set

ROOT = Path(__file__).parents[1]
README, TOUR = ROOT / "README.md", ROOT / "docs" / "tour.md"
FIRST = [7, 2, 1, 0, 4]


def test_the_code_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_code(README)
    assert names["model"].predict(names["test"].visible()[:5]).tolist() == FIRST
    assert f"# tensor({FIRST})" in README.read_text()
    assert (tmp_path / "crossed.png").read_bytes()[:4] == b"\x89PNG"


def test_the_code_of_the_tour_runs(tmp_path, monkeypatch):
    """Trained for one epoch instead of 20; the image set is what a command of the page makes."""
    monkeypatch.chdir(tmp_path)
    model, test = denseam.load_pretrained("mnist-n30"), denseam.data.load("mnist").test
    boundary_set(model, test.subset(slice(20)), tmp_path / "boundary.safetensors")
    paper = Recipe.paper
    monkeypatch.setattr(Recipe, "paper", lambda power, epochs: paper(power, min(epochs, 1)))
    names = run_code(TOUR)
    assert names["result"].recipe.epochs == 1
    assert (names["v"].shape, names["labels"].shape) == ((1000, 784), (1000,))
    assert len(names["images"]) == 5000
    assert 20 < names["verdicts"].n_rejected < 90
    first = names["model"].predict(test.visible()[:5])
    assert torch.equal(first, torch.tensor(FIRST))


@pytest.mark.parametrize("page", [README, TOUR], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    linked = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert len(linked) > 10
    assert not [each for each in linked if not (page.parent / each).exists()]

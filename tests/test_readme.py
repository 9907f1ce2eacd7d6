"""README.md: its Python runs from top to bottom, and its links lead somewhere."""

import re
from pathlib import Path

import torch
from tests.pages import run_code

import denseam
from denseam import Recipe
from denseam.descent import boundary_set

PAGE = Path(__file__).parents[1] / "README.md"


def test_the_code_runs(tmp_path, monkeypatch):
    """Trained for one epoch instead of 20; the image set is what a command of the page makes."""
    monkeypatch.chdir(tmp_path)
    model, test = denseam.load_pretrained("mnist-n30"), denseam.data.load("mnist").test
    boundary_set(model, test.subset(slice(20)), tmp_path / "boundary.safetensors")
    paper = Recipe.paper
    monkeypatch.setattr(Recipe, "paper", lambda power, epochs: paper(power, min(epochs, 1)))
    names = run_code(PAGE)
    assert names["result"].recipe.epochs == 1
    assert (names["v"].shape, names["labels"].shape) == ((1000, 784), (1000,))
    assert len(names["images"]) == 5000
    assert 20 < names["verdicts"].n_rejected < 90
    first = names["model"].predict(test.visible()[:5])
    assert torch.equal(first, torch.tensor([7, 2, 1, 0, 4]))
    assert f"# tensor({first.tolist()})" in PAGE.read_text()


def test_links_and_places_are_there():
    page = PAGE.read_text()
    linked = re.findall(r"\]\((?!https?:)([^)#]+)", page)
    places = re.findall(r"^((?:src|docs)/\S+)", page, re.MULTILINE)
    assert len(linked) > 10
    assert len(places) > 15
    assert not [each for each in linked + places if not (PAGE.parent / each).exists()]

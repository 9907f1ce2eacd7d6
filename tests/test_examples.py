"""The examples in the docstrings run, and public names of the core have one."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest
import torch

import denseam
from denseam import energies, fronts

SOURCES = Path(denseam.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(SOURCES.parent).with_suffix("").parts)
    for path in SOURCES.rglob("*.py")
    if ">>> " in path.read_text()
)
PUBLIC = [
    denseam.DenseAM,
    denseam.MemoryLayer,
    denseam.classifier.Classifier,
    denseam.train,
    denseam.Recipe,
    denseam.training.MaxNormMomentum,
    *energies.FUNCTIONS.values(),
    energies.EnergyFunction,
    energies.Homogeneous,
    *fronts.FRONTS.values(),
    fronts.Front,
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_the_docstrings(module):
    torch.manual_seed(0)
    result = doctest.testmod(import_module(module))
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize("public", PUBLIC, ids=lambda each: each.__name__)
def test_public_names_have_an_example(public):
    assert ">>> " in public.__doc__

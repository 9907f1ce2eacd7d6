"""The examples in the docstrings of the data room run."""

import doctest
from importlib import import_module

import pytest

MODULES = ["imageset", "known", "loading", "pixels"]


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_the_docstrings(module):
    result = doctest.testmod(import_module(f"denseam.data.{module}"))
    assert result.attempted
    assert not result.failed

"""The benchmark of the toolkits, whose pieces the tests run on fewer images."""

import importlib.util
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

with warnings.catch_warnings():
    # Foolbox imports a filter by a name that SciPy has given up.
    warnings.filterwarnings("ignore", "Please import `gaussian_filter`", DeprecationWarning)
    foolbox = pytest.importorskip("foolbox")
torchattacks = pytest.importorskip("torchattacks")
pyautoattack = pytest.importorskip("pyautoattack")
evasion = pytest.importorskip("art.attacks.evasion")
estimators = pytest.importorskip("art.estimators.classification")


def _benchmark():
    spec = importlib.util.spec_from_file_location("toolkits", ROOT / "benchmarks/toolkits.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


benchmark = _benchmark()

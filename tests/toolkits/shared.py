"""The benchmark of the toolkits, whose pieces the tests run on fewer images."""

import warnings

import pytest

with warnings.catch_warnings():
    # Foolbox imports a filter by a name that SciPy has given up.
    warnings.filterwarnings("ignore", "Please import `gaussian_filter`", DeprecationWarning)
    foolbox = pytest.importorskip("foolbox")
torchattacks = pytest.importorskip("torchattacks")
pyautoattack = pytest.importorskip("pyautoattack")
evasion = pytest.importorskip("art.attacks.evasion")
estimators = pytest.importorskip("art.estimators.classification")

import toolkit_tables as benchmark  # noqa: E402, F401 (for those who import it from here)

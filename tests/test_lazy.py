"""`import denseam` imports nothing heavy; every public name is there all the same."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import denseam

INIT = Path(denseam.__file__)


def block():
    """Return the names that type checkers see, each with its module."""
    (only_for_types,) = [n for n in ast.parse(INIT.read_text()).body if isinstance(n, ast.If)]
    return {alias.name: node.module for node in only_for_types.body for alias in node.names}


def in_fresh_python(program):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_type_checkers_see_is_what_is_imported():
    eager = {"DenseAMError", "DenseAMWarning", "__version__", "errors"}
    assert block().keys() | eager == set(denseam.__all__)
    homes = {n: f"denseam.{home}" for n, home in denseam._HOMES.items()}
    assert homes == {name: home for name, home in block().items() if home != "denseam"}


@pytest.mark.parametrize("name", denseam.__all__)
def test_every_public_name_is_there(name):
    assert getattr(denseam, name) is getattr(denseam, name)
    assert name in dir(denseam)


def test_a_star_import_brings_all_names():
    names = {}
    exec("from denseam import *", names)
    assert set(denseam.__all__) <= names.keys()


def test_importing_denseam_does_not_import_pytorch():
    program = "import sys, denseam; print({'torch', 'numpy'} & sys.modules.keys() or 'neither')"
    assert in_fresh_python(program) == "neither"


@pytest.mark.parametrize("room", ["data", "figures", "training", "analysis", "sklearn", "files"])
def test_a_room_is_there_without_an_import_of_its_own(room):
    assert in_fresh_python(f"import denseam; print(denseam.{room}.__name__)") == f"denseam.{room}"


def test_objects_are_pickled_by_their_own_modules():
    program = (
        "import pickle, denseam; recipe = denseam.Recipe.paper(power=3); "
        "print(pickle.loads(pickle.dumps(recipe)) == recipe)"
    )
    assert in_fresh_python(program) == "True"


@pytest.mark.parametrize("name", ["DenseAm", "_DenseAM", "nothing"])
def test_an_unknown_name_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match=f"'denseam' has no attribute '{name}'"):
        getattr(denseam, name)

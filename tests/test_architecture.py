"""Imports run one way, without circles, and importing denseam is cheap.

The layers stand in pyproject.toml; circles are looked for between files, inside a room too.
"""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OPTIONAL = (
    "rich", "matplotlib", "pooch", "tensorboard", "triton", "sklearn", "onnx", "onnxruntime",
    "huggingface_hub", "foolbox", "art", "torchattacks", "pyautoattack", "starlette", "uvicorn",
    "msgspec", "sqlalchemy", "psycopg", "prometheus_client",
)  # fmt: skip


def test_imports_run_one_way(capsys):
    from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

    code = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    said = capsys.readouterr().out
    assert code == EXIT_STATUS_SUCCESS, said
    assert "0 broken" in said


def test_every_module_has_a_layer():
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(c["layers"] for c in contracts["contracts"] if c["type"] == "layers")
    named = {name.strip() for layer in layers for name in layer.replace("|", ":").split(":")}
    package = ROOT / "src" / "denseam"
    modules = {p.stem for p in package.glob("*.py")}
    modules |= {p.parent.name for p in package.glob("*/__init__.py")}
    assert {f"denseam.{m}" for m in modules - {"__init__", "__main__"}} == named


def imports_of(package):
    """Return every module with the modules of the package that it imports, wherever in it."""
    modules = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        modules[".".join(parts).removesuffix(".__init__")] = ast.parse(path.read_text())

    def named(node):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are not followed here"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            return inner & modules.keys() | ({node.module} if inner - modules.keys() else set())
        return {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()

    return {
        name: {each for node in ast.walk(tree) for each in named(node) & modules.keys()} - {name}
        for name, tree in modules.items()
    }


def circle_in(imports):
    """Return the modules of a circle, or nothing."""
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_no_imports_go_in_circles():
    imports = imports_of(ROOT / "src" / "denseam")
    assert len(imports) > 100
    assert circle_in(imports) == []


def test_circles_are_found_through_imports_in_functions_and_for_types_alone(tmp_path):
    package = tmp_path / "room"
    (package / "inner").mkdir(parents=True)
    files = {
        "__init__": "from room.one import x",
        "one": "def f():\n    from room.inner import two",
        "inner/__init__": "",
        "inner/two": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import room.one",
    }
    for name, text in files.items():
        (package / f"{name}.py").write_text(text)
    assert set(circle_in(imports_of(package))) == {"room.one", "room.inner.two"}
    (package / "one.py").write_text("import math")
    assert circle_in(imports_of(package)) == []


@pytest.fixture(scope="module")
def imported():
    """The modules in memory after all names of denseam are imported, and what was said of it."""
    code = "import sys; from denseam import *; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split()), done.stderr


def test_importing_denseam_loads_nothing_that_only_some_need(imported):
    modules, said = imported
    assert said == ""
    assert "torch" in modules
    found = [name for name in OPTIONAL if name in modules]
    assert found == []


def test_importing_denseam_computes_nothing():
    code = (
        "import torch, denseam\n"
        "from denseam.kernels import choice, native, products\n"
        "used = [f.cache_info().currsize for f in (native.library, products.default_product, "
        "products.available_products, choice._choose)]\n"
        "assert used == [0] * 4, used\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""Imports run one way, and importing denseam is cheap. The layers stand in pyproject.toml."""

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


@pytest.fixture(scope="module")
def imported():
    """The modules in memory after `import denseam`, and what was said about it."""
    code = "import sys, denseam; print(*sorted(sys.modules))"
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

"""What `make wheels` packs; tools/try_wheel.py installs and uses the wheels themselves."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import try_wheel
import wheels

from denseam.version import __version__

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
BUILT = shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info")


def build(folder: Path, **variables: str) -> Path:
    """Return the wheel of the working tree, built in a folder."""
    for name in SOURCES:
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "src", folder / "src", ignore=BUILT)
    subprocess.run(
        [sys.executable, "setup.py", "-q", "bdist_wheel"], cwd=folder, check=True,
        env=os.environ | variables, capture_output=True,
    )  # fmt: skip
    (wheel,) = (folder / "dist").iterdir()
    return wheel


@pytest.fixture(scope="module")
def pure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel without C."""
    return build(tmp_path_factory.mktemp("pure"), DENSEAM_PURE="1")


def test_the_wheel_without_c_is_for_every_platform_and_small(pure: Path) -> None:
    assert pure.name == f"denseam-{__version__}-py3-none-any.whl"
    assert pure.stat().st_size < wheels.LARGEST


def test_a_wheel_has_every_file_of_the_package_and_nothing_else(pure: Path) -> None:
    packed = {name for name in zipfile.ZipFile(pure).namelist() if ".dist-info/" not in name}
    source = ROOT / "src"
    files = (p.relative_to(source) for p in (source / "denseam").rglob("*") if p.is_file())
    kept = {str(p) for p in files if "__pycache__" not in p.parts and p.suffix != ".so"}
    assert packed == kept


def test_the_wheel_without_c_computes_in_pytorch_and_says_so_once(
    pure: Path, tmp_path: Path
) -> None:
    zipfile.ZipFile(pure).extractall(tmp_path)
    steps = try_wheel.FIRST_STEPS.replace("test[:1000]", "test[:20]")
    done = subprocess.run(
        [sys.executable, "-c", steps], cwd=tmp_path, check=True, text=True, capture_output=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert f"in {tmp_path}/denseam: the C kernels are not installed" in done.stdout
    assert done.stderr.count("slower, in plain PyTorch") == 1
    assert (tmp_path / "seven.png").exists()


@pytest.mark.slow  # packs 25 MB
@pytest.mark.skipif(sys.platform != "linux", reason="the names of Linux")
def test_without_a_compiler_there_is_a_wheel_all_the_same(tmp_path: Path) -> None:
    """The kernels are optional; and the wheel is for every Python, with or without them."""
    wheel = build(tmp_path, CC="false", _PYTHON_HOST_PLATFORM="linux-aarch64")
    assert wheel.name == f"denseam-{__version__}-py3-none-linux_aarch64.whl"


def test_the_version_is_the_same_wherever_it_stands() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert f"\nversion: {__version__}\n" in citation
    released = re.findall(r"^## \[(\d[^]]*)\] - \d{4}-\d\d-\d\d$", changes, re.MULTILINE)
    assert released[:1] in ([], [__version__])

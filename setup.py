"""Builds the C kernels; everything else about the package stands in pyproject.toml.

The library is plain C without Python in it, so one wheel serves every Python version of a platform.
It is optional: where it cannot be compiled, `denseam` runs on plain PyTorch and says so. With
DENSEAM_PURE=1 in the environment it is left out, for a wheel of every platform.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel

FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O3", "-fvisibility=hidden", "-Wno-psabi"]
FLAGS += ["-fno-math-errno", "-fno-trapping-math"]  # without these, comparisons do not vectorise

KERNELS = Path("src/denseam/kernels")
NAMES = ("cpu_update", "cpu_dots")

kernels = Extension(
    "denseam.kernels._cpu",
    sources=[
        *(f"{KERNELS}/{name}.c" for name in NAMES),
        *map(str, sorted(KERNELS.glob("functions/*.c"))),
    ],
    depends=[str(header) for header in sorted(KERNELS.glob("*.h"))],
    extra_compile_args=FLAGS,
    libraries=["m", "pthread"],
    optional=True,
    py_limited_api=True,
)


class Wheel(bdist_wheel):  # type: ignore[misc] # setuptools says nothing of types
    """A wheel of any Python 3, for one platform where it holds the C kernels."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the wheel's tag."""
        return "py3", "none", super().get_tag()[2]


# MSVC knows neither the vector types nor C11 atomics of the source.
left_out = sys.platform == "win32" or os.environ.get("DENSEAM_PURE") == "1"
setup(ext_modules=[] if left_out else [kernels], cmdclass={"bdist_wheel": Wheel})

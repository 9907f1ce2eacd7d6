"""Builds the C kernels; everything else about the package stands in pyproject.toml.

The library is plain C without Python in it, so one binary serves every Python version. It is
optional: where it cannot be compiled, `denseam` runs on its reference kernels and says so.
"""

import sys
from pathlib import Path

from setuptools import Extension, setup

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
# MSVC knows neither the vector types nor C11 atomics of the source.
setup(ext_modules=[] if sys.platform == "win32" else [kernels])

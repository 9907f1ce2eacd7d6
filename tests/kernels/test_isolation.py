"""denseam computes for its caller and leaves the caller's torch, threads and files alone."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

# Runs in a process of its own, where nothing has been imported yet.
PROGRAM = """
import json, sys, warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "slower, in plain PyTorch")  # where there are no C kernels
import numpy, torch

opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)

def settings():
    tiny = torch.finfo(torch.float32).tiny
    subnormal = torch.tensor([tiny]) * torch.tensor([0.25])
    with_numpy = numpy.float32(tiny) * numpy.float32(0.25)
    return {
        "threads": torch.get_num_threads(),
        "interop": torch.get_num_interop_threads(),
        "precision": torch.get_float32_matmul_precision(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "deterministic": torch.backends.mkldnn.deterministic,
        "fp32": str(getattr(torch.backends.mkldnn.matmul, "fp32_precision", None)),
        "dtype": str(torch.get_default_dtype()),
        "grad": torch.is_grad_enabled(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "torch_seed": torch.initial_seed(),
        "generator": torch.get_rng_state().sum().item(),
        "subnormal": float(subnormal) > 0,
        "subnormal_in_threads": int((torch.full((10**6,), tiny) * 0.25 > 0).sum()),
        "subnormal_in_numpy": float(with_numpy) > 0,
    }

before = settings()
import denseam
imported = settings()
modules = sorted(sys.modules)
mnist = [name for name in opened if "mnist" in name.lower() and not name.endswith((".py", ".pyc"))]

for dtype in (torch.float32, torch.float64):
    model = denseam.DenseAM(784, 10, 130, 30, 60.0, dtype=dtype)
    v = (torch.linspace(-1, 1, 300 * 784, dtype=dtype).reshape(300, 784)).requires_grad_()
    with torch.enable_grad():
        (model(v).sum() + model.log_energy(v).sum()).backward()
    model.predict(v)
    optimizer = denseam.MaxNormMomentum(model.parameters(), lr=0.01)
    optimizer.step()
used = settings()
print(json.dumps({"before": before, "imported": imported, "used": used,
                  "modules": modules, "mnist": mnist}))
"""


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "2"},  # settings of threads are asked for, too
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def test_import_changes_no_setting_of_torch(report: dict[str, Any]) -> None:
    assert report["imported"] == report["before"]


def test_use_changes_no_setting_of_torch(report: dict[str, Any]) -> None:
    assert report["used"] == report["before"]


def test_subnormal_numbers_stay_what_they_are_for_the_caller(report: dict[str, Any]) -> None:
    for moment in ("before", "imported", "used"):
        assert report[moment]["subnormal"]
        assert report[moment]["subnormal_in_numpy"]
        assert report[moment]["subnormal_in_threads"] == 10**6


@pytest.mark.parametrize(
    "module",
    ["matplotlib", "pooch", "requests", "rich", "tensorboard", "numba", "urllib3", "triton"],
)
def test_import_leaves_out(report: dict[str, Any], module: str) -> None:
    assert module not in report["modules"]


def test_import_reads_no_data(report: dict[str, Any]) -> None:
    assert report["mnist"] == []

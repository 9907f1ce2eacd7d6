"""Commands as jobs of several processes: the same files, and one of them speaks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from study import small as tiny

from denseam import data
from denseam.mesh import own_device

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
TORCHRUN = [
    sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
    "-m", "denseam",
]  # fmt: skip


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    return tiny.save_npz(tmp_path_factory.mktemp("data") / "noisy.npz")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "n2.safetensors"
    tiny.model(2).save(path)
    return path


def by_two(*argv):
    done = subprocess.run(
        [*TORCHRUN, *map(str, argv)],
        env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_an_image_set_is_made_by_two_processes_as_by_one(run, model, noisy, tmp_path):
    job = ["boundary", model, "--dataset", noisy, "--count", 30, "--chunk", 5, "--json"]
    job += ["--grid", tmp_path / "grid.png"]
    code, said, err = by_two(*job, "--out", tmp_path / "two.safetensors")
    assert code == 0, err
    assert json.loads(said)["images"] == 30  # one value, of one process
    code, _, _ = run(*job, "--out", tmp_path / "one.safetensors")
    assert code == 0
    one, two = (data.load(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    assert one.metadata == two.metadata
    assert torch.equal(one.facts["source"], two.facts["source"])
    torch.testing.assert_close(one.images, two.images)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "grid.png", "one.safetensors", "two.safetensors",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_stages_of_a_study_are_shared_by_two_processes(run, model, noisy, tmp_path):
    job = ["reproduce", "--models", model, "--dataset", noisy, "--quick"]
    job += ["--only", "errors", "ways", "boundary-n2", "transfer"]
    code, said, err = by_two(*job, "--out", tmp_path / "out")
    assert code == 0, err
    lines = [line for line in err.splitlines() if line.startswith("[")]
    assert len(lines) == 4  # one for each stage, of one process
    assert not any("up to date" in line for line in lines)
    assert said.count("report in ") == 1
    assert (tmp_path / "out" / "report.html").exists()
    code, _, err = run(*job, "--out", tmp_path / "out")
    assert err.count("up to date") == 4


@pytest.mark.slow
def test_what_goes_wrong_in_all_processes_is_said_by_one(model, noisy, tmp_path):
    there = tmp_path / "there.npz"
    data.load(noisy).test.save(there)
    code, said, err = by_two("boundary", model, "--dataset", noisy, "--count", 5, "--out", there)
    assert code != 0
    assert said == ""
    (line,) = [line for line in err.splitlines() if line.startswith("denseam boundary: ")]
    assert "is there and was made otherwise" in line


def test_under_torchrun_cuda_is_the_gpu_of_the_local_rank(monkeypatch):
    assert own_device("cuda") == "cuda"
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert own_device("cuda") == "cuda:1"
    assert own_device("cuda:0") == "cuda:0"
    assert own_device("cpu") == "cpu"

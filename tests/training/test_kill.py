"""Real processes: killed at random moments, out of disk; the same command goes on."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

import denseam
from denseam.training.runs import RunFolder

from .small import save_npz

pytestmark = pytest.mark.slow

K = 300  # checkpoints of some 70 kB: more than one write
OPTIONS = ["--power", "3", "--epochs", "150", "--n-memories", str(K), "--per-class", "5", "--json"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return save_npz(tmp_path_factory.mktemp("data") / "toy.npz")


def command(toy, out):
    return [
        sys.executable, "-m", "denseam", "train", "--dataset", str(toy), "--out", str(out),
        *OPTIONS,
    ]  # fmt: skip


def finish(toy, out):
    done = subprocess.run(
        command(toy, out), env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    for record in records:
        del record["seconds"]
    return denseam.load(out).memories, records


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
    """Weights, records and run.json of a run that nobody stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return (*finish(toy, out), out / "run.json")


def like(whole, out):
    """A folder whose run multiplies as the whole one did: which product is fastest is measured."""
    out.mkdir()
    shutil.copy(whole[2], out)
    return out


def wait_for_epochs(out, count, process):
    """Until so many records are written, or the process has ended."""
    path = out / "records.jsonl"
    while process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.001)


def test_a_process_killed_at_random_moments_goes_on_to_the_same_bits(toy, whole, tmp_path):
    rng = random.Random(3)
    killed, out = 0, like(whole, tmp_path / "run")
    for target in (1, 50, 100):
        with subprocess.Popen(
            command(toy, out), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            wait_for_epochs(out, target, process)
            time.sleep(rng.uniform(0, 0.03))  # anywhere within an epoch and its files
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        if (out / "checkpoint.safetensors").exists():  # whole, whatever the moment
            RunFolder(out).load(torch.Size((K, 28)), torch.float32)
    assert killed >= 2, "too fast to be killed: nothing was tested"
    memories, records = finish(toy, out)
    assert torch.equal(memories, whole[0])
    assert records == whole[1]


FULL_DISK = """
import resource, signal, sys
from denseam.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(main(sys.argv[2:]))
"""


def test_a_full_disk_is_one_line_and_exit_code_2_and_the_run_goes_on_later(toy, whole, tmp_path):
    out = like(whole, tmp_path / "run")
    with subprocess.Popen(
        command(toy, out), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        wait_for_epochs(out, 5, process)
        process.kill()
    folder = RunFolder(out)
    before = folder.checkpoint.read_bytes()
    done_epochs = folder.load(torch.Size((K, 28)), torch.float32).epochs
    lines = (out / "records.jsonl").read_bytes().splitlines(keepends=True)[:done_epochs]
    # Room for everything but a checkpoint; then for not even one record more.
    for room in (len(before) - 1000, sum(map(len, lines)) + 100):
        done = subprocess.run(
            [sys.executable, "-c", FULL_DISK, str(room), *command(toy, out)[3:]],
            env=ENVIRONMENT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith("denseam train: ")
        assert "could not be written: File too large" in line
        assert folder.checkpoint.read_bytes() == before
    memories, kept = finish(toy, out)
    assert torch.equal(memories, whole[0])
    assert kept == whole[1]
    assert sorted(p.name for p in out.iterdir() if p.name != ".lock") == [
        "checkpoint.safetensors", "model.safetensors", "records.jsonl", "run.json",
    ]  # fmt: skip

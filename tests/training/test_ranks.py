"""Several processes on loopback: the same result as one, few bytes, and a rank that dies."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import denseam
from denseam import train
from denseam.data import Dataset
from denseam.energies import RectifiedPolynomial
from denseam.errors import InputError, LostRankError
from denseam.kernels import choose, look_at
from denseam.mesh import Axis, Mesh, start
from denseam.training.runs import RunFolder

from . import ranks_job, small

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
MESHES = [(2, 1), (2, 2), (4, 1), (4, 2), (4, 4)]  # processes, memory ranks


# ---- the same result ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """What the processes of ranks_job.py wrote, by processes-memory_ranks-what."""
    out = tmp_path_factory.mktemp("ranks")
    for count in (2, 4):
        job = [*TORCHRUN, str(count), str(Path(ranks_job.__file__)), str(out)]
        subprocess.run(job, env=ENVIRONMENT, check=True, capture_output=True, timeout=200)
    return {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}


def alone(**fields):
    return train(small.recipe(**{**ranks_job.SIZES, **fields}), small.dataset())


@pytest.mark.parametrize("power", [2, 30])
@pytest.mark.parametrize(("count", "memory_ranks"), MESHES)
def test_any_mesh_loses_as_one_process_does(reports, count, memory_ranks, power):
    there, here = reports[f"{count}-{memory_ranks}-n{power}"], alone(power=power)
    assert there["mesh"] == f"{count // memory_ranks} data x {memory_ranks} memory"
    assert len(there["records"]) == 5
    for one, record in zip(here.records, there["records"], strict=True):
        assert record["objective"] == pytest.approx(one.objective, rel=1e-5)
        assert record["train_error"] == one.train_error
        assert record["test_error"] == one.test_error
        assert record["dead_memories"] == one.dead_memories
        assert record["class_errors"] == pytest.approx(one.class_errors)
    memories = torch.tensor(there["memories"])
    torch.testing.assert_close(memories, here.model.memories.detach(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("count", "memory_ranks"), MESHES)
def test_the_first_process_ends_with_the_whole_model(reports, count, memory_ranks):
    job = reports[f"{count}-{memory_ranks}-n30"]
    parts = [13 // memory_ranks + (r < 13 % memory_ranks) for r in range(memory_ranks)]
    held = [len(other) for other in job["others"]]
    assert len(job["memories"]) == 13
    if memory_ranks == 1:
        assert all(other == job["memories"] for other in job["others"])  # to the bit
    else:
        assert held == [parts[rank % memory_ranks] for rank in range(1, count)]
        begin = parts[0]
        assert job["others"][0] == job["memories"][begin : begin + parts[1]]


def test_other_networks_and_binarised_input_train_alike(reports):
    for name, fields in {
        "2-1-relu": {"power": 2, "network": "relu"},
        "4-1-relu": {"power": 2, "network": "relu"},
        "2-2-binarised": {"power": 3, "binarised": True},
        "4-2-binarised": {"power": 3, "binarised": True},
    }.items():
        here = alone(**fields).records
        for one, record in zip(here, reports[name]["records"], strict=True):
            assert record["objective"] == pytest.approx(one.objective, rel=1e-5), name
            assert record["test_error"] == one.test_error, name


def test_memories_are_dead_that_no_image_of_any_process_wakes(reports):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", denseam.DenseAMWarning)  # of learning nothing
        (here,) = alone(**ranks_job.DYING).records
    assert 2 < here.dead_memories < 35
    for name in ("2-1-dying", "2-2-dying", "4-1-dying", "4-2-dying", "4-4-dying"):
        assert reports[name]["records"][0]["dead_memories"] == here.dead_memories, name


# ---- what crosses the network ------------------------------------------------------------------


@pytest.mark.parametrize(("count", "memory_ranks"), [(2, 2), (4, 4), (4, 2)])
def test_memory_ranks_send_as_much_whatever_k_is(reports, count, memory_ranks):
    few, many = (reports[f"{count}-{memory_ranks}-{name}"] for name in ("n30", "many"))
    images, classes = 15 // (count // memory_ranks), 3
    # 32-bit maxima of every image; 64-bit sums of every image, for each class and for none.
    expected = 4 * images + 8 * images * (classes + 1)
    for job in (few, many):
        within_an_epoch = [memory for _, memory in job["sent"][1:4]]
        assert all(abs(sent - expected) <= expected / images for sent in within_an_epoch)


def test_data_ranks_send_the_gradient_of_their_memories(reports):
    for count, memory_ranks in MESHES:
        data = [sent for sent, _ in reports[f"{count}-{memory_ranks}-n2"]["sent"][1:4]]
        memories = -(-13 // memory_ranks)  # of the first process
        parts = 4 * memories * (25 + 3)
        assert data == [parts if count > memory_ranks else 0] * 3


# ---- meshes that cannot be ---------------------------------------------------------------------


def test_what_cannot_be_divided_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"memory_ranks = 2 with 1 process: .*torchrun"), start(2):
        pass
    divided = Mesh(memory=Axis("memory", 0, 2))
    relu = small.recipe(network="relu")
    with pytest.raises(
        InputError, match="memories of dam or exponential or conv-front can be divided"
    ):
        train(relu, small.dataset(), mesh=divided)
    with pytest.raises(InputError, match="12 memories among 13 memory ranks"):
        train(small.recipe(), small.dataset(), mesh=Mesh(memory=Axis("memory", 0, 13)))
    with pytest.raises(InputError, match="15 images among 16 data ranks"):
        train(small.recipe(), small.dataset(), mesh=Mesh(data=Axis("data", 0, 16)))


def test_parts_of_an_axis_are_consecutive_and_differ_by_one():
    for count, size in ((13, 4), (4, 4), (12, 5), (3, 1)):
        parts = [Axis("data", rank, size).part(count) for rank in range(size)]
        assert [i for rows in parts for i in range(rows.start, rows.stop)] == list(range(count))
        lengths = [rows.stop - rows.start for rows in parts]
        assert max(lengths) - min(lengths) <= 1


def test_labels_by_parts_of_the_memories_hold_where_classes_underflow():
    """All classes beside `off` are 1e-39 of it and less, and the second is the larger one."""
    pixels = torch.full((1, 8), 1.0)
    memories = torch.cat([torch.full((2, 8), -0.9875), torch.full((2, 10), -1.0)], dim=1)
    memories[1, -1] = -0.99
    expected = denseam.energy.log_energy(pixels.double(), memories.double(), 30).argmax(dim=1)
    assert expected.tolist() == [9]
    seen = look_at(
        choose().kernel, RectifiedPolynomial(30), pixels, memories, memories[:, -10:],
        every_class=True, axis=Axis("memory"),
    )  # fmt: skip
    assert seen.labels().tolist() == [9]


def test_one_process_alone_needs_no_network():
    with start() as mesh:
        assert (mesh.size, mesh.first, str(mesh)) == (1, True, "1")
        assert mesh.told({"a": [1]}) == {"a": [1]}
        x = torch.ones(3)
        assert mesh.data.add(x) is x
        assert mesh.gather(x, 3) is x
    assert not torch.distributed.is_initialized()


# ---- the command, and a rank that dies ---------------------------------------------------------

OPTIONS = ["--power", "3", "--n-memories", "301", "--per-class", "20"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Seven of the test images have a wrong label: a network that has learned errs on just these.

    Where errors hang on single images they hang on rounding: all memories take steps of one
    length, those too whose gradient is no more than that.
    """
    test = small.images(90, seed=2)
    labels = test.labels.clone()
    labels[:7] = (labels[:7] + 1) % small.CLASSES
    larger = Dataset("toy", small.images(6000), replace(test, labels=labels))
    return small.save_npz(tmp_path_factory.mktemp("data") / "toy.npz", larger)


def command(toy, out, *more, epochs=12):
    return [
        "train", "--dataset", str(toy), "--out", str(out), "--epochs", str(epochs), *OPTIONS, *more,
    ]  # fmt: skip


def run(arguments, count=None, options=()):
    program = [sys.executable] if count is None else [*TORCHRUN, str(count), *options]
    return subprocess.run(
        [*program, "-m", "denseam", *arguments],
        env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip


def said(done):
    """Lines that denseam has written, not torchrun."""
    return [line for line in done.stderr.splitlines() if line.startswith("denseam train: ")]


def records(out):
    return [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]


def ranks_of(process):
    """Process ids of the ranks of a torchrun, in order of rank."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ids = {}
    for child in map(int, children):
        variables = Path(f"/proc/{child}/environ").read_bytes().decode().split("\0")
        ranks = [v.removeprefix("RANK=") for v in variables if v.startswith("RANK=")]
        if ranks:
            ids[int(ranks[0])] = child
    return ids


def start_and_kill(arguments, out, count, rank, epochs, options=()):
    """Start a job, kill one of its processes after some epochs, wait for its end."""
    with subprocess.Popen(
        [*TORCHRUN, str(count), *options, "-m", "denseam", *arguments],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        lines = out / "records.jsonl"
        while process.poll() is None:
            if lines.exists() and lines.read_bytes().count(b"\n") >= epochs:
                os.kill(ranks_of(process)[rank], signal.SIGKILL)
                break
            time.sleep(0.002)
        stdout, stderr = process.communicate(timeout=200)
    return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
    """The run of one process."""
    out = tmp_path_factory.mktemp("one") / "run"
    done = run(command(toy, out))
    assert done.returncode == 0, done.stderr
    return out


def alike(out, whole):
    """The same number of epochs, the same first one but for rounding, the same final error."""
    here, there = records(out), records(whole)
    assert [record["epoch"] for record in here] == list(range(12))
    assert here[0]["objective"] == pytest.approx(there[0]["objective"], rel=1e-3)
    assert here[-1]["test_error"] == there[-1]["test_error"] == 7 / 90
    assert denseam.load(out).n_memories == 301


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_the_job_with_one_line_and_others_go_on(toy, whole, tmp_path, rank):
    out = tmp_path / "run"
    job = command(toy, out, "--memory-ranks", "2")
    done = start_and_kill(job, out, 2, rank, epochs=3)
    assert done.returncode != 0
    assert len(said(done)) == 1, done.stderr
    (line,) = said(done)
    assert re.match(rf"denseam train: rank {1 - rank} of 2: ", line)
    assert f"goes on from the last epoch in {out}, on as many processes as there are then" in line
    state = RunFolder(out).load(torch.Size((301, 28)), torch.float32)
    assert 2 <= state.epochs < 12
    again = run(command(toy, out, "--memory-ranks", "2"), count=4) if rank else run(job[:-2])
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("test error ")
    alike(out, whole)


def test_torchrun_starts_it_again_where_asked_to(toy, whole, tmp_path):
    out = tmp_path / "run"
    done = start_and_kill(command(toy, out), out, 2, 1, 3, options=["--max-restarts", "2"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test error ") == 1
    alike(out, whole)


def test_bad_input_is_one_line_of_one_process(toy, tmp_path):
    done = run(command(toy, tmp_path / "run", "--memory-ranks", "2"), count=3)
    assert done.returncode != 0
    (line,) = said(done)
    assert "memory_ranks = 2 with 3 processes: wanted a divisor" in line
    assert not (tmp_path / "run").exists()


def test_a_folder_of_another_run_is_one_line_too(toy, whole):
    done = run(command(toy, whole, epochs=13), count=2)
    assert done.returncode != 0
    (line,) = said(done)
    assert "holds another run" in line


def test_a_lost_rank_is_an_error_of_ours():
    assert issubclass(LostRankError, denseam.DenseAMError)

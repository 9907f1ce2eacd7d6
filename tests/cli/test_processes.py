"""The command line as people use it: Ctrl-C, terminals and pipes of real processes."""

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings

import torch

import denseam
from denseam.errors import DenseAMWarning

DENSEAM = [sys.executable, "-m", "denseam"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm", "COLUMNS": "130"}


def train_command(toy, out, epochs, memories=12):
    return [
        *DENSEAM, "train", "--power", "3", "--dataset", str(toy), "--out", str(out),
        "--epochs", str(epochs), "--n-memories", str(memories), "--per-class", "5",
    ]  # fmt: skip


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(toy, tmp_path):
    out = tmp_path / "run"
    command = train_command(toy, out, 200, memories=300)
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while not (out / "checkpoint.safetensors").exists():
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (130, "")
    assert stderr == f"\nstopped; the same command goes on from the last epoch in {out}\n"
    stopped = len((out / "records.jsonl").read_text().splitlines())
    assert 1 <= stopped < 200
    again = subprocess.run(
        [*command, "--json"], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert json.loads(again.stdout)["train"]["epoch"] == 199
    assert "Traceback" not in again.stderr
    records = (out / "records.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in records] == list(range(200))
    assert torch.equal(denseam.load(out).memories, uninterrupted(toy, out, tmp_path / "whole"))


def uninterrupted(toy, run, out):
    """The memories of the same run without a stop; run.json says how it multiplies."""
    out.mkdir()
    shutil.copy(run / "run.json", out)
    facts = json.loads((run / "run.json").read_text())
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(facts["environment"]["threads"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DenseAMWarning)
            wanted = denseam.Recipe.from_json(facts["recipe"])
            return denseam.train(wanted, denseam.data.load(toy), out).model.memories
    finally:
        torch.set_num_threads(threads)


def read_terminal(descriptor) -> str:
    text = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while part := os.read(descriptor, 4096):
            text += part
    return text.decode()


def on_terminal(command) -> str:
    """What a command shows on a terminal, without colours and cursor movements."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        seen = read_terminal(ours)
    os.close(ours)
    assert process.returncode == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)


def test_a_terminal_shows_a_bar_with_both_errors_and_the_time_left(toy, tmp_path):
    text = on_terminal(train_command(toy, tmp_path / "run", 60))
    assert re.search(
        r"n = 3  epoch \d+/60 .*train error \d+\.\d\d %, test error \d+\.\d\d % about "
        r"\d+\.\d s left",
        text,
    )
    assert "test error" in text


def test_in_a_pipe_there_is_no_bar_and_nothing_on_stderr(toy, tmp_path):
    done = subprocess.run(
        train_command(toy, tmp_path / "run", 5), env=ENVIRONMENT, capture_output=True, check=True
    )
    assert done.stderr == b""
    assert b"\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == 3


def test_a_reader_that_has_seen_enough_is_no_traceback():
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [*DENSEAM, "data", "mnist", "--json"], stdout=theirs, stderr=subprocess.PIPE, check=False,
        env={**ENVIRONMENT, "PYTHONUNBUFFERED": ""},  # it fails when it is flushed, not before
    )  # fmt: skip
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_descent_shows_a_progress_bar_on_a_terminal_only(toy, tmp_path):
    run = tmp_path / "run"
    subprocess.run(train_command(toy, run, 2), env=ENVIRONMENT, check=True, capture_output=True)
    command = [
        *DENSEAM, "boundary", str(run), "--dataset", str(toy), "--chunk", "3", "--step", "0.002",
        "--max-steps", "100",
    ]  # fmt: skip
    shown = on_terminal([*command, "--out", str(tmp_path / "a.npz")])
    assert re.search(r"boundary .* \d+ of 30 images", shown)
    assert "left" in shown
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "b.npz")],
        env=ENVIRONMENT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""

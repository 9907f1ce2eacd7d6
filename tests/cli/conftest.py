"""The small problem of tests/training, as a file for the command line."""

import math
import signal
from pathlib import Path

import pytest
from training import small

from denseam.cli import common, main, progress


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_arrives():
    """A shell starts background jobs deaf to Ctrl-C, and their children inherit that."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def no_lines_of_progress(monkeypatch):
    """A busy machine takes ten seconds for little, and would then write a line about it."""
    monkeypatch.setattr(progress, "_FIRST", math.inf)


@pytest.fixture(autouse=True)
def consoles_follow_columns(monkeypatch):
    """A console keeps the COLUMNS that it began with; workers of the tests have some."""
    for console in (common.stdout, common.stderr):
        monkeypatch.setattr(console, "_width", None)


@pytest.fixture(scope="session")
def toy(tmp_path_factory) -> Path:
    return small.save_npz(tmp_path_factory.mktemp("data") / "toy.npz")


@pytest.fixture
def run(capsys):
    """Runs a command in this process; returns exit code, standard output and error."""

    def call(*argv: object) -> tuple[int, str, str]:
        try:
            code = main([str(a) for a in argv])
        except SystemExit as stop:  # argparse
            code = stop.code
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def train(run, toy, tmp_path):
    """`denseam train` on the small problem; n = 3 and 4 epochs unless told otherwise."""

    def call(*more: object, out: Path = tmp_path / "run") -> tuple[int, str, str]:
        return run(
            "train", "--power", 3, "--dataset", toy, "--out", out, "--epochs", 4,
            "--n-memories", 12, "--per-class", 5, *more,
        )  # fmt: skip

    return call

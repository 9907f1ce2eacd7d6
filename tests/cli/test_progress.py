"""Progress: the time left is about right, and lines come now and then without a terminal."""

import io
import re
from itertools import pairwise

import pytest

from denseam.cli import progress
from denseam.cli.console import Console
from denseam.cli.progress import Clock, TrainingBar, counted, duration, images_bar


class Time:
    """A clock that goes when it is told to."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def time(monkeypatch):
    time = Time()
    monkeypatch.setattr(progress, "_FIRST", 10.0)
    monkeypatch.setattr(Clock.__init__, "__defaults__", (time,))
    return time


@pytest.fixture
def said(monkeypatch):
    """What goes to the standard error, which is no terminal."""
    file = io.StringIO()
    monkeypatch.setattr(progress, "stderr", Console(file=file))
    return lambda: file.getvalue().splitlines()


def test_the_time_left_is_right_though_the_first_epoch_is_slow(time):
    clock = Clock()
    assert clock.left() is None
    for done in range(1, 11):
        time.seconds += 60 if done == 1 else 2  # the first compiles
        clock.update(done, 100)
        right = 2 * (100 - done)
        if done > 1:
            assert clock.left() == pytest.approx(right)
    assert clock.words() == ", about 3 min left"


def test_lines_come_after_ten_seconds_and_then_sparser(time):
    clock, lines = Clock(), []
    for _ in range(3600):
        time.seconds += 1
        if clock.due():
            lines.append(time.seconds - 100)
    assert lines[:3] == [10, 20, 30]
    gaps = [b - a for a, b in pairwise(lines)]
    assert gaps == sorted(gaps)
    assert gaps[-1] > 300
    assert len(lines) < 60


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.9, "9.9 s"),
        (89, "89 s"),
        (91, "2 min"),
        (5399, "90 min"),
        (9e3, "2.5 h"),
    ],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_bars_write_lines_where_there_is_no_terminal(time, said):
    for item in counted("abcd", "bench"):
        time.seconds += 6
        assert item in "abcd"
    assert said() == ["bench: 3 of 4, about 12 s left"]
    with images_bar("attack") as bar:
        for done in range(0, 1001, 100):
            bar(done, 1000)
            time.seconds += 3
    assert said()[1] == "attack: 400 of 1000 images, about 18 s left"


def test_quick_work_says_nothing(time, said):
    assert list(counted(range(5), "bench")) == [0, 1, 2, 3, 4]
    assert said() == []


def test_training_says_which_error_it_shows(time, said, train, monkeypatch):
    monkeypatch.setattr(progress, "_FIRST", 0.0)
    on_epoch = TrainingBar.on_epoch

    def slow(self, record):
        time.seconds += 10
        on_epoch(self, record)

    monkeypatch.setattr(TrainingBar, "on_epoch", slow)
    assert train()[0] == 0
    lines = [line for line in said() if "epoch" in line and not line.startswith("warning")]
    assert re.fullmatch(
        r"n = 3  epoch 2/4: train error \d+\.\d\d %, test error \d+\.\d\d %, about 20 s left",
        lines[-3],
    )
    assert lines[-1].endswith("about 0.0 s left")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_bar_fits_the_terminal(width, monkeypatch, train):
    file = io.StringIO()
    terminal = Console(file=file, width=width, force_terminal=True, color_system=None)
    monkeypatch.setattr(progress, "stderr", terminal)
    assert train()[0] == 0
    shown = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", file.getvalue().split("\r")[-1])
    last = [line for line in shown.splitlines() if "epoch" in line][-1]
    assert len(last) <= width
    assert "epoch 4/4" in last
    assert re.search(r"test error \d+\.\d\d %", last)
    assert ("train error" in last) == (width >= 80)
    assert "…" not in last

"""Commands write to whatever there is: other encodings, narrow terminals, pipes that close."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from denseam import cli

MODEL = "mnist-n2"
ODD = os.fsdecode(b"caf\xe9 \xf0\x9f\x90\x9d")  # no UTF-8, a blank, a bee

# Every command that prints a table and needs no server, on little work. OUT is the folder.
LINES = {
    "data": "data",
    "one set": "data mnist",
    "train": "train --power 3 --epochs 4 --n-memories 30 --per-class 10 --dataset OUT/c26.npz "
    "--out OUT/run",
    "evaluate": "evaluate OUT/run --dataset OUT/c26.npz",
    "explain": "explain OUT/run --dataset OUT/c26.npz",
    "rubbish": "rubbish OUT/run --classes 1 2 --per-class 1 --max-steps 3 --out OUT/r.safetensors",
    "boundary": "boundary OUT/run --dataset OUT/c26.npz --count 3 --max-steps 3 --out OUT/b.npz",
    "attack": "attack OUT/run --dataset OUT/c26.npz --count 3 --method fgsm --eps 0.1 0.2 "
    "--out OUT/a.safetensors",
    "transfer": "transfer OUT/run OUT/n1 OUT/n2 OUT/n3 OUT/n4 --sets OUT/a.safetensors",
    "audit": "audit OUT/run --dataset OUT/c26.npz --count 40 --queries 5 --page OUT/audit.html",
    "calibrate": "guard calibrate --detector OUT/run --classifier OUT/run --dataset OUT/c26.npz "
    "--target-rejection 0.1 --out OUT/guard",
    "check": "guard check OUT/guard OUT/c26.npz --count 30 --out OUT/verdicts.csv",
    "guard evaluate": "guard evaluate OUT/guard --dataset OUT/c26.npz --count 30",
    "export": "export OUT/run --out OUT/run.onnx",
}


@pytest.fixture(params=["plain"])
def folder(request, tmp_path):
    """A folder with a data set of 26 classes, in which the lines run one after the other."""
    path = tmp_path / request.param
    path.mkdir()
    rng = np.random.default_rng(0)
    means = rng.integers(0, 256, (26, 8, 8))
    labels = np.arange(520) % 26
    images = np.clip(means[labels] + rng.normal(0, 60, (520, 8, 8)), 0, 255).astype(np.uint8)
    parts = {"x_train": images, "y_train": labels, "x_test": images[:260], "y_test": labels[:260]}
    with (path / "c26.npz").open("wb") as file:
        np.savez(file, **parts)
    return path


def words_of(name, folder):
    return [word.replace("OUT", folder.name) for word in LINES[name].split(" ")]


@pytest.mark.parametrize(
    ("folder", "encoding", "columns"),
    [("plain", "ascii", 60), (ODD, "utf-8", 80), (ODD, "cp1252", 120)],
    indirect=["folder"],
    ids=["ascii-60", "utf-8-80", "cp1252-120"],
)
def test_every_command_prints_whole_words(folder, encoding, columns, monkeypatch):
    """All commands, with what one leaves for the next, in this process: imports take seconds."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.chdir(folder.parent)
    for name in LINES:
        if name == "audit" and columns != 80:
            continue  # it takes seconds
        if name == "transfer":
            for copy in ("n1", "n2", "n3", "n4"):
                shutil.copytree(folder / "run", folder / copy, dirs_exist_ok=True)
        code, out = captured(words_of(name, folder), encoding, monkeypatch)
        assert code == 0, (name, out)
        assert "…" not in out
        assert "Traceback" not in out
        for line in out.splitlines():
            if re.match(r"[│┃|+┏┡└ ]", line) and folder.name not in line:
                assert len(line) <= columns, name


def captured(words, encoding, monkeypatch):
    import io

    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    code = cli.main(words)
    stream.flush()
    return code, raw.getvalue().decode(encoding, errors="replace")


def test_a_table_of_many_classes_has_figures_at_80_columns(folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(folder.parent)
    captured(words_of("train", folder), "utf-8", monkeypatch)
    code, out = captured(words_of("evaluate", folder), "utf-8", monkeypatch)
    assert code == 0
    assert len(re.findall(r" 10 │? *\d+\.\d\d %", out)) == 26


@pytest.mark.parametrize("words", ["data", "--help"], ids=str)
def test_a_reader_that_leaves_is_not_complained_about(words):
    command = f"{sys.executable} -m denseam {words} | true; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode in (0, 2, 141)
    assert "Error" not in done.stderr.replace("InputError", "")
    assert "Exception" not in done.stderr

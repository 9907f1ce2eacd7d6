"""denseam predict: files, standard input, tables and files of rows."""

import csv
import io
import json
import sys

import pytest
from PIL import Image
from tests.scans import STYLES, scans

import denseam
from denseam.cli import main

MNIST = denseam.data.load("mnist").test.subset(slice(0, 4))


@pytest.fixture
def folder(tmp_path):
    for k, page in enumerate(scans(MNIST.images, STYLES["scan"])):
        Image.fromarray(page.numpy()).save(tmp_path / f"{k}.png")
    return tmp_path


def test_a_folder_as_a_table_and_in_every_file(folder, capsys):
    files = {suffix: folder / f"rows{suffix}" for suffix in (".csv", ".json", ".jsonl")}
    for path in files.values():
        assert main(["predict", "mnist-n30", str(folder), "--out", str(path)]) == 0
    out = capsys.readouterr().out
    assert "│ 0.png" in out
    assert "in /" in out
    rows = list(csv.DictReader(io.StringIO(files[".csv"].read_text())))
    assert [row["class_name"] for row in rows] == list("7210")
    assert rows[0]["memories"].count(":") == 3
    whole = json.loads(files[".json"].read_text())
    lines = [json.loads(line) for line in files[".jsonl"].read_text().splitlines()]
    assert whole["predictions"] == lines
    assert [line["label"] for line in lines] == [7, 2, 1, 0]
    assert main(["predict", "mnist-n30", str(folder), "--csv"]) == 0
    assert capsys.readouterr().out == files[".csv"].read_text()


def test_one_bad_file_is_a_row_and_the_exit_code(folder, capsys):
    (folder / "1.png").write_bytes(b"torn")
    picture = folder / "seen.png"
    options = ["--json", "--pictures", str(picture)]
    assert main(["predict", "mnist-n30", str(folder), *options]) == 1
    rows = json.loads(capsys.readouterr().out)["predictions"]
    assert [row["label"] for row in rows] == [7, None, 1, 0]
    assert "whole picture" in rows[1]["error"]
    with Image.open(picture) as sheet:
        assert sheet.width > 3 * 56


def test_standard_input_is_a_picture_or_a_list(folder, capsys, monkeypatch):
    class Stdin:
        buffer = io.BytesIO((folder / "1.png").read_bytes())

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert main(["predict", "mnist-n30", "-", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"][0]["label"] == 2
    names = [str(folder / f"{k}.png").encode() for k in range(3)]
    for divider in (b"\n", b"\0"):
        Stdin.buffer = io.BytesIO(divider.join(names) + divider)
        assert main(["predict", "mnist-n30", "--files-from", "-", "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)["predictions"]
        assert [row["label"] for row in rows] == [7, 2, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no pictures"),
        (["-", "-"], "standard input is named twice"),
        (["--files-from", "nowhere.txt"], "nowhere.txt"),
        (["x.png", "--out", "rows.xml"], "wanted a .csv or .json or .jsonl file"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys):
    assert main(["predict", "mnist-n30", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error.replace("\n", " ")

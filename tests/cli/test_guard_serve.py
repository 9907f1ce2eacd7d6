"""`denseam guard serve` and `denseam guard review`: what people type, in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

from denseam import data
from denseam.cli import main
from denseam.guard import Guard


@pytest.fixture(scope="module")
def guard_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("guard") / "guard.safetensors"
    images = data.load("mnist").test.subset(slice(1000))
    Guard("mnist-n30", "mnist-n3").calibrate(images).save(path)
    return path


@pytest.fixture(scope="module")
def database(guard_file, tmp_path_factory):
    """A quarantine with three items, filled by a server that was stopped by a signal."""
    folder = tmp_path_factory.mktemp("served")
    command = [sys.executable, "-m", "denseam", "guard", "serve", str(guard_file), "--port", "0",
               "--name", "digits", "--json", "--log-level", "warning",
               "--deadline", "60"]  # fmt: skip
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        try:
            lines = ""
            while not lines.endswith("\n}\n"):
                lines += process.stdout.readline()
            started = json.loads(lines)
            assert started["settings"]["name"] == "digits"
            shape = [3, 28, 28]
            pixels = (np.arange(3 * 784) % 256).tolist()
            tensor = {"name": "images", "datatype": "UINT8", "shape": shape, "data": pixels}
            body = json.dumps({"inputs": [tensor], "parameters": {"source": "test"}}).encode()
            asked = urllib.request.Request(f"{started['url']}/v2/models/digits/infer", body)
            with urllib.request.urlopen(asked) as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()
    return folder / "quarantine.sqlite"


def review(capsys, database, *arguments):
    action, *rest = arguments
    code = main(["guard", "review", action, "--database", str(database), *rest])
    out, err = capsys.readouterr()
    return code, out, err


def test_items_are_listed_shown_labelled_and_exported(capsys, database, tmp_path):
    code, out, _ = review(capsys, database, "list", "--json")
    found = json.loads(out)
    assert (code, found["total"], len(found["items"])) == (0, 3, 3)
    assert {item["source"] for item in found["items"]} == {"test"}
    first, second, third = (item["id"] for item in found["items"])
    code, out, _ = review(capsys, database, "list", "--unlabelled", "--count", "1")
    assert "1 of 3 items" in out
    assert first[:8] in out

    code, out, _ = review(capsys, database, "show", first, "--out", str(tmp_path / "item.png"))
    assert "low_confidence" in out
    assert out.count("█") > 28
    from PIL import Image

    pixels = np.asarray(Image.open(tmp_path / "item.png"))
    assert (pixels.shape, pixels.dtype) == ((28, 28), np.uint8)
    assert pixels.ravel()[:5].tolist() in (
        [0, 1, 2, 3, 4],
        [16, 17, 18, 19, 20],
        [32, 33, 34, 35, 36],
    )

    code, _, err = review(capsys, database, "export", str(tmp_path / "none.npz"))
    assert (code, "no item has a class" in err) == (2, True)
    assert "junk" in review(capsys, database, "label", second, "junk")[1]
    assert review(capsys, database, "label", third, "7", "--json")[0] == 0
    code, out, _ = review(capsys, database, "export", str(tmp_path / "out.npz"), "--json")
    assert json.loads(out) == {"out": str(tmp_path / "out.npz"), "images": 1, "no_images": 0,
                               "junk": 1}  # fmt: skip
    images = data.load(str(tmp_path / "out.npz"))
    assert (images.labels.tolist(), images.n_classes, images.shape) == ([7], 10, (28, 28))
    assert images.metadata["ids"] == [third]

    code, out, _ = review(capsys, database, "delete", second)
    assert "1 of 1" in out
    assert json.loads(review(capsys, database, "list", "--json")[1])["total"] == 2


def test_more_clean_images_make_another_calibration(capsys, database, tmp_path):
    """What was set aside wrongly extends the set that a guard is calibrated with."""
    items = json.loads(review(capsys, database, "list", "--json")[1])["items"]
    review(capsys, database, "label", items[0]["id"], "1")
    review(capsys, database, "export", str(tmp_path / "out.npz"))
    extra, clean = data.load(str(tmp_path / "out.npz")), data.load("mnist").test
    wider = clean.subset(slice(1000)).images
    import torch

    guard = Guard("mnist-n30", "mnist-n3").calibrate(torch.cat([wider, extra.images]))
    assert guard.calibrated


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["review", "show", "x"], "wanted a UUID"),
        (["review", "show", "00000000-0000-0000-0000-000000000000"], "no item"),
        (["review", "label", "00000000-0000-0000-0000-000000000000", "cat"], "a class, junk"),
        (["review", "list", "--count", "0"], "count = 0: wanted a whole number >= 1"),
        (["serve", "--host", "0.0.0.0"], "API key file"),
        (["serve", "--port", "70000"], "<= 65535"),
        (["serve", "none.safetensors"], "none.safetensors"),
        (["serve", "--database", "mysql://a"], "postgresql://"),
        (["serve", "--api-key-file", "none"], "none"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_bad_input_is_one_clear_line(capsys, database, guard_file, monkeypatch, arguments, said):
    monkeypatch.chdir(database.parent)
    if arguments[0] == "serve" and "none.safetensors" not in arguments:
        arguments = ["serve", str(guard_file), *arguments[1:]]
    assert main(["guard", *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err.replace("\n", " ")


def test_a_quarantine_that_is_not_there_is_said(capsys, tmp_path):
    code, _, err = review(capsys, tmp_path / "none.sqlite", "list")
    assert code == 2
    assert "none.sqlite" in err.replace("\n", "")


def test_a_package_that_is_missing_is_named(capsys, guard_file, monkeypatch, tmp_path):
    for name in list(sys.modules):
        if name.startswith(("denseam.guard.server.", "uvicorn")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.chdir(tmp_path)
    assert main(["guard", "serve", str(guard_file)]) == 2
    assert "pip install 'denseam[serve]'" in capsys.readouterr().err.replace("\n", " ")

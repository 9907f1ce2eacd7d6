"""Pictures become images of the guard by the same code as on the command line."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from tests.scans import STYLES, scans

import denseam

PATH = "/v2/models/guard/prepare"


def file(pixels, kind="PNG", **options):
    contents = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(contents, kind, **options)
    return contents.getvalue()


def image(answer):
    assert answer.status == 200
    pixels = np.frombuffer(base64.b64decode(answer.json["image"]), np.uint8)
    return torch.tensor(pixels).reshape(answer.json["shape"])


def test_a_scan_is_what_predict_looks_at(server, digits):
    page = file(scans(digits[:1], STYLES["scan"])[0])
    seen = denseam.predict(page).inputs[0]
    expected = ((seen + 1) * 127.5).round().to(torch.uint8)
    assert torch.equal(image(server.ask("POST", PATH, page)), expected)
    assert image(server.ask("POST", f"{PATH}?detail=4", page)).shape == (112, 112)


def test_options_and_pages(server, digits):
    digit = file(digits[0])
    assert torch.equal(image(server.ask("POST", PATH, digit)), digits[0])
    inverted = server.ask("POST", f"{PATH}?centre=false&invert=true", digit)
    assert torch.equal(image(inverted), 255 - digits[0])
    book = file(digits[0], "TIFF", save_all=True, append_images=[Image.new("L", (28, 28))] * 2)
    assert server.ask("POST", PATH, book).json["pages"] == 3


@pytest.mark.parametrize(
    ("query", "body", "said"),
    [
        ("", b"no picture", "the file is not a whole picture"),
        ("", b"", "not a whole picture"),
        ("", b"P5 6000 6000 255\n", "6000 x 6000 pixels are too many"),
        ("?centre=perhaps", b"", "the query"),
        ("?detail=9", b"", "the query"),
    ],
)
def test_what_is_no_picture_is_refused(server, query, body, said):
    answer = server.ask("POST", PATH + query, body)
    assert answer.status == 400
    assert said in answer.json["error"]

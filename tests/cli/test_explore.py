"""`denseam explore`: a folder for any web server, or a server."""

import http.client
import json
import signal
import subprocess
import sys

import pytest

from denseam.data import load
from denseam.pretrained import shipped_file


def test_the_folder_has_the_page_the_models_and_the_digits(run, tmp_path):
    out = tmp_path / "a" / "site"
    code, said, _ = run("explore", "--out", out)
    assert code == 0
    assert "index.html" in said
    assert (out / "index.html").read_text().startswith("<!doctype html>")
    copy = out / "models" / "mnist-n30.safetensors"
    assert copy.read_bytes() == shipped_file("mnist-n30").read_bytes()
    digits = (out / "digits.u8").read_bytes()
    assert len(digits) == 10 * 784
    test = load("mnist").test
    four = int((test.labels == 4).nonzero()[0])
    assert digits[4 * 784 : 5 * 784] == test.images[four].numpy().tobytes()
    assert json.loads(run("explore", "--out", out, "--json")[1]) == {"out": str(out)}


def test_what_cannot_be_is_said(run, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = run("explore", "--out", tmp_path / "file")
    assert code == 2
    assert "could not be written" in err
    code, _, err = run("explore", "--port", 70000, "--no-browser")
    assert code == 2
    assert "port 70000" in err


@pytest.mark.timeout(60)
def test_it_serves_this_machine_until_ctrl_c():
    words = [sys.executable, "-m", "denseam", "explore", "--no-browser", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        url = json.loads(b"".join(iter(process.stdout.readline, b"}\n")) + b"}")["url"]
        host = url.removeprefix("http://").rstrip("/")
        assert host.startswith("127.0.0.1:")
        connection = http.client.HTTPConnection(host, timeout=30)
        connection.request("GET", "/worker.js")
        answer = connection.getresponse()
        assert answer.headers["Content-Type"] == "text/javascript"
        assert b"onmessage" in answer.read()
        connection.close()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == b""

"""Fetching from a real server on this machine, and what happens when it fails."""

import bz2
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from denseam import data
from denseam.data import fetch
from denseam.data.registry import KNOWN, KnownSet, RemoteFile
from denseam.errors import DataUnavailableError, FileFormatError, InputError, SaveError

from .idx import write_idx

Arrays = dict[str, NDArray[np.uint8]]
MakeKnown = Callable[..., KnownSet]
DEAD = "http://127.0.0.1:9/"  # the discard port: nobody listens


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serves ``tmp_path / "published"``: /ok/ whole, /cut/ half, /wrong/ with a byte changed."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, way, name = self.path.split("/")
            path = tmp_path / "published" / name
            if way == "missing" or not path.is_file():
                self.send_error(404)
                return
            body = path.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if way == "wrong":
                body = body[:-1] + bytes([body[-1] ^ 1])
            self.wfile.write(body[: len(body) // 2] if way == "cut" else body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


def files_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def test_fetch_and_keep(
    server: str, make_known: MakeKnown, arrays: Arrays, cache: Path, tmp_path: Path
) -> None:
    toy = make_known((server + "ok/",))
    assert not data.status("toy")[0].available
    loaded = data.load("toy")
    assert np.array_equal(loaded.test.images.numpy(), arrays["test-images"])
    assert loaded.train.class_names == tuple("abcdefghij")
    assert loaded.train.metadata == {"source": "toy", "verified": True}
    assert files_in(cache) == sorted(f.name for f in toy.files.values())
    for path in (tmp_path / "published").iterdir():
        path.unlink()  # the second time nothing is fetched
    assert data.load("toy").train.digest() == loaded.train.digest()
    assert data.status("toy")[0].available
    assert len(data.verify("toy")) == 4


@pytest.mark.parametrize("first", [DEAD, "missing/", "cut/", "wrong/"])
def test_the_next_mirror_helps_out(server: str, make_known: MakeKnown, first: str) -> None:
    first = first if first == DEAD else server + first
    make_known((first, server + "ok/"))
    assert len(data.load("toy").train) == 30


@pytest.mark.parametrize("way", ["missing/", "cut/", "wrong/", DEAD])
def test_no_mirror_helps(server: str, make_known: MakeKnown, cache: Path, way: str) -> None:
    mirror = way if way == DEAD else server + way
    toy = make_known((mirror,))
    with pytest.raises(DataUnavailableError) as caught:
        data.load("toy")
    message = str(caught.value)
    assert "\n" not in message
    assert mirror in message
    assert str(cache / "toy") in message
    assert all(file.name in message for file in toy.files.values())
    assert files_in(cache) == []  # half a download is no download


@pytest.mark.parametrize("form", ["as published", "uncompressed", "compressed anew"])
def test_files_put_there_by_hand(
    make_known: MakeKnown, arrays: Arrays, cache: Path, form: str
) -> None:
    toy = make_known((DEAD,))
    (cache / "toy").mkdir(parents=True)
    for role, file in toy.files.items():
        name = file.plain_name if form == "uncompressed" else file.name
        write_idx(cache / "toy" / name, arrays[role])
        if form == "compressed anew":
            path = cache / "toy" / name
            path.write_bytes(path.read_bytes()[:9] + b"\x03" + path.read_bytes()[10:])
    loaded = data.load("toy")
    assert loaded.train.metadata["verified"] is True
    assert len(data.verify("toy")) == 4


def test_uncompressed_files_without_a_published_sum_are_taken_on_trust(
    make_known: MakeKnown, arrays: Arrays, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = make_known((DEAD,))
    files = {role: replace(file, content_sha256=None) for role, file in toy.files.items()}
    monkeypatch.setitem(KNOWN, "toy", replace(toy, files=files))
    (cache / "toy").mkdir(parents=True)
    for role, file in files.items():
        write_idx(cache / "toy" / file.plain_name, arrays[role])
    assert data.load("toy").train.metadata["verified"] is False
    assert data.verify("toy") == []
    write_idx(cache / "toy" / "train-images-idx3-ubyte", arrays["train-images"][:29])
    with pytest.raises(FileFormatError, match="has 30 images, got 29"):
        data.load("toy")


def test_other_files_under_the_right_name(
    make_known: MakeKnown, arrays: Arrays, cache: Path
) -> None:
    toy = make_known((DEAD,))
    (cache / "toy").mkdir(parents=True)
    for role, file in toy.files.items():
        write_idx(cache / "toy" / file.name, 255 - arrays[role])
    with pytest.raises(FileFormatError, match=r"not the published train-images-idx3-ubyte.gz"):
        data.load("toy")
    with pytest.raises(FileFormatError, match="SHA-256"):
        data.verify("toy")


def test_the_folder_of_the_system(make_known: MakeKnown, arrays: Arrays, tmp_path: Path) -> None:
    system = tmp_path / "usr" / "share" / "datasets" / "toy"
    system.mkdir(parents=True)
    toy = make_known((DEAD,), (str(system),))
    for role, file in toy.files.items():
        write_idx(system / file.name, arrays[role])
    assert len(data.load("toy").test) == 20
    assert data.status("toy")[0].where == str(system)


def test_debian_puts_fashion_mnist_there() -> None:
    assert KNOWN["fashion-mnist"].folders == ("/usr/share/datasets/fashion-mnist",)


def zipped(make_known: MakeKnown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KnownSet:
    """The toy set as EMNIST comes: in one zip file, turned, counted from 1."""
    toy = make_known()
    with zipfile.ZipFile(tmp_path / "published" / "all.zip", "w") as bundle:
        for file in toy.files.values():
            bundle.write(tmp_path / "published" / file.name, f"inside/{file.name}")
        bundle.writestr("inside/other.gz", b"not wanted")
    content = (tmp_path / "published" / "all.zip").read_bytes()
    archive = RemoteFile("all.zip", hashlib.sha256(content).hexdigest())
    toy = replace(toy, archive=archive, transposed=True, shape=(6, 4))
    monkeypatch.setitem(KNOWN, "toy", toy)
    return toy


def test_zip_file(
    server: str,
    make_known: MakeKnown,
    arrays: Arrays,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toy = zipped(make_known, tmp_path, monkeypatch)
    monkeypatch.setitem(KNOWN, "toy", replace(toy, mirrors=(server + "ok/",)))
    turned = arrays["train-images"].transpose(0, 2, 1)
    assert np.array_equal(data.load("toy").train.images.numpy(), turned)
    assert files_in(cache) == sorted(f.name for f in toy.files.values())


def test_zip_file_put_there_by_hand(
    make_known: MakeKnown, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zipped(make_known, tmp_path, monkeypatch)
    (cache / "toy").mkdir(parents=True)
    whole = (tmp_path / "published" / "all.zip").read_bytes()
    (cache / "toy" / "all.zip").write_bytes(whole[:100])
    with pytest.raises(FileFormatError, match="not a whole zip"):
        data.load("toy")
    with zipfile.ZipFile(cache / "toy" / "all.zip", "w") as bundle:
        bundle.writestr("other", b"")
    with pytest.raises(FileFormatError, match=r"holds no .*train-images"):
        data.load("toy")
    (cache / "toy" / "all.zip").write_bytes(whole)
    assert len(data.load("toy").train) == 30
    assert "all.zip" in files_in(cache)  # the user's own file stays


@pytest.mark.parametrize("whole", [True, False])
def test_cifar_comes_from_its_tar_file(
    server: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    rng, shape = np.random.default_rng(0), (3, 4, 5)
    made = replace(KNOWN["cifar-10"], shape=shape, n_train=10, n_test=2, mirrors=(server + "ok/",))
    published, files, pixels = tmp_path / "published", {}, {}
    published.mkdir(exist_ok=True)
    with tarfile.open(published / "cifar.tar.gz", "w:gz") as tar:
        for role, file in made.files.items():
            pixels[role] = rng.integers(0, 256, (2, *shape), np.uint8)
            labels = np.array([[len(files)], [9]], np.uint8)
            records = np.concatenate([labels, pixels[role].reshape(2, -1)], axis=1).tobytes()
            records = records if whole else records[:-1]
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{file.name}")
            info.size = len(records)
            tar.addfile(info, io.BytesIO(records))
            files[role] = replace(file, sha256=hashlib.sha256(records).hexdigest())
    packed = (published / "cifar.tar.gz").read_bytes()
    archive = RemoteFile("cifar.tar.gz", hashlib.sha256(packed).hexdigest())
    monkeypatch.setitem(KNOWN, "cifar-10", replace(made, files=files, archive=archive))
    if not whole:
        with pytest.raises(FileFormatError, match="121 bytes are no whole records of 61 bytes"):
            data.load("cifar-10")
        return
    loaded = data.load("cifar-10")
    assert loaded.train.labels.tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]
    assert loaded.test.class_names[loaded.test.labels[0]] == "dog"
    assert np.array_equal(loaded.train.images[2:4].numpy(), pixels["train-2"])
    assert np.array_equal(loaded.test.images.numpy(), pixels["test"])
    assert not (cache / "cifar-10" / "cifar.tar.gz").exists()
    assert len(data.verify("cifar-10")) == 6


def test_usps_text(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usps = replace(KNOWN["usps"], shape=(2, 2), n_train=2, n_test=1)
    lines = {"train": "1 1:-1 2:0.5 3:1 4:-0.25\n10 2:1\n", "test": "3 1:1 4:1\n"}
    files = {}
    (cache / "usps").mkdir(parents=True)
    for part, text in lines.items():
        packed = bz2.compress(text.encode())
        (cache / "usps" / usps.files[part].name).write_bytes(packed)
        files[part] = replace(usps.files[part], sha256=hashlib.sha256(packed).hexdigest())
    monkeypatch.setitem(KNOWN, "usps", replace(usps, files=files))
    loaded = data.load("usps")
    assert loaded.train.labels.tolist() == [0, 9]
    assert loaded.train.visible().tolist() == [[-1, 0.5, 1, -0.25], [0, 1, 0, 0]]
    assert loaded.test.images.shape == (1, 2, 2)


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENSEAM_DATA", "~/somewhere")
    assert fetch.cache_folder() == Path.home() / "somewhere"
    monkeypatch.delenv("DENSEAM_DATA")
    assert "denseam" in str(fetch.cache_folder())


def test_progress_is_for_terminals(capsys: pytest.CaptureFixture[str]) -> None:
    progress = fetch._Progress("file")
    progress.total = 2_000_000
    progress.update(1_000_000)
    progress.close()
    assert capsys.readouterr().err == "\rfile:  50% of 2.0 MB\n"


def test_verify_and_status_fetch_nothing() -> None:
    with pytest.raises(DataUnavailableError, match="is not on this machine"):
        data.verify("kmnist")
    with pytest.raises(InputError, match="known are"):
        data.verify("nothing")
    with pytest.raises(InputError, match="known are"):
        data.status("nothing")


@pytest.mark.parametrize("below", ["", "further"])
def test_an_unwritable_cache_is_reported_before_a_mirror_is_asked(
    make_known: MakeKnown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    make_known((DEAD,))
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DENSEAM_DATA", str(tmp_path / "file" / below))
    monkeypatch.setattr(fetch, "_retrieve", lambda *_: pytest.fail("asked a mirror"))
    with pytest.raises(SaveError, match=r"file.* cannot be written.*DENSEAM_DATA"):
        data.load("toy")

"""The guard behind KServe's server, asked by the clients of KServe and of Triton."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from denseam.guard import Guard, Verdicts

from .small import SHAPE, clean, guard

kserve = pytest.importorskip("kserve", reason="pip install 'denseam[kserve]', alone")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of what KServe brings
    pytest.mark.slow,  # starts a server
]
Pixels = np.ndarray[Any, Any]
COLUMNS = ("label", "accepted", "score", "p_value", "detector_label", "classifier_label")


@pytest.fixture(scope="module")
def small() -> Guard:
    return guard()


@pytest.fixture(scope="module")
def ports(small: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """The ports of a server for REST and gRPC."""
    folder = tmp_path_factory.mktemp("model")
    small.save(folder)
    http, grpc = _free_port(), _free_port()
    words = [
        sys.executable, "-m", "denseam.guard.kserve", "--model_dir", str(folder),
        "--model_name", "small", "--http_port", str(http), "--grpc_port", str(grpc),
    ]  # fmt: skip
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(words, stderr=log, stdout=log) as server,
    ):
        try:
            for port in (http, grpc):
                _wait(port, server, folder / "log")
            yield http, grpc
        finally:
            server.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def images() -> Pixels:
    """Clean images (B, H, W) in [0, 1]; noise, one that is not finite, one out of range."""
    generator = torch.Generator().manual_seed(3)
    pixels = (clean(12, seed=5).visible().reshape(-1, *SHAPE) + 1) / 2
    noise = torch.rand(8, *SHAPE, generator=generator)
    pixels = torch.cat([pixels, noise]).float()
    pixels[-1, 0, 0], pixels[-2, 0, 0] = torch.nan, 7.0
    return pixels.numpy()


def kserve_rest(ports: tuple[int, int], pixels: Pixels, *, binary: bool = True) -> Any:
    async def ask() -> Any:
        config = kserve.RESTConfig(protocol="v2")
        client = kserve.InferenceRESTClient(config)
        tensor = kserve.InferInput("images", list(pixels.shape), _datatype(pixels))
        tensor.set_data_from_numpy(pixels, binary_data=binary)
        request = kserve.InferRequest("small", [tensor], request_id="42")
        try:
            return await client.infer(f"http://127.0.0.1:{ports[0]}", request, model_name="small")
        finally:
            await client.close()

    return asyncio.run(ask())


def kserve_grpc(ports: tuple[int, int], pixels: Pixels) -> Any:
    async def ask() -> Any:
        tensor = kserve.InferInput("images", list(pixels.shape), _datatype(pixels))
        tensor.set_data_from_numpy(pixels, binary_data=True)
        async with kserve.InferenceGRPCClient(f"127.0.0.1:{ports[1]}") as client:
            return await client.infer(kserve.InferRequest("small", [tensor]))

    return asyncio.run(ask())


def triton_rest(ports: tuple[int, int], pixels: Pixels, names: tuple[str, ...] = ()) -> Any:
    triton = pytest.importorskip("tritonclient.http")
    tensor = triton.InferInput("images", list(pixels.shape), _datatype(pixels))
    tensor.set_data_from_numpy(pixels)
    outputs = [triton.InferRequestedOutput(name) for name in names] or None
    with triton.InferenceServerClient(f"127.0.0.1:{ports[0]}") as client:
        assert client.is_model_ready("small")
        return client.infer("small", [tensor], outputs=outputs)


TRITON_GRPC = """
import sys, numpy, tritonclient.grpc as triton
pixels = numpy.load("pixels.npy")
tensor = triton.InferInput("images", list(pixels.shape), sys.argv[2])
tensor.set_data_from_numpy(pixels)
with triton.InferenceServerClient(f"127.0.0.1:{sys.argv[1]}") as client:
    answer = client.infer("small", [tensor])
outputs = [tensor.name for tensor in answer.get_response().outputs]
numpy.savez("answer.npz", **{name: answer.as_numpy(name).astype("U") for name in outputs})
"""


def triton_grpc(ports: tuple[int, int], pixels: Pixels) -> Any:
    """Ask in another process: the messages of both clients have the same names."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/pixels.npy", pixels)
        words = [sys.executable, "-c", TRITON_GRPC, str(ports[1]), _datatype(pixels)]
        subprocess.run(words, cwd=folder, check=True, env={**os.environ, "PYTHONPATH": ""})
        with np.load(f"{folder}/answer.npz") as answer:
            return dict(answer)


def _datatype(pixels: Pixels) -> str:
    return "UINT8" if pixels.dtype == np.uint8 else "FP32"


def columns(answer: Any) -> dict[str, Any]:
    """Return the outputs of an answer of any client."""
    if isinstance(answer, dict):
        return answer
    if hasattr(answer, "outputs"):
        return {tensor.name: tensor.as_numpy() for tensor in answer.outputs}
    return {name: answer.as_numpy(name) for name in (*COLUMNS, "reason")}


def assert_same(answer: Any, verdicts: Verdicts) -> None:
    received = columns(answer)
    assert list(received) == [*COLUMNS, "reason"]
    for name in COLUMNS:
        column = received[name]
        numbers = column == "True" if name == "accepted" and column.dtype.kind == "U" else column
        numbers = numbers.astype(float)
        numbers[np.isnan(numbers)] = np.inf  # JSON has no infinity: null
        np.testing.assert_array_equal(numbers, np.array(verdicts.columns[name], float))
    reasons = [r.decode() if isinstance(r, bytes) else str(r) for r in received["reason"]]
    assert reasons == [reason or "" for reason in verdicts.reasons]


CLIENTS = {
    "kserve rest": kserve_rest, "kserve grpc": kserve_grpc,
    "triton rest": triton_rest, "triton grpc": triton_grpc,
}  # fmt: skip


@pytest.mark.parametrize("client", CLIENTS)
def test_verdicts_are_the_guards_own(client: str, ports: tuple[int, int], small: Guard) -> None:
    verdicts = small.predict(torch.tensor(images()))
    assert {"nonfinite", "out_of_range", None} < {*verdicts.reasons}
    assert_same(CLIENTS[client](ports, images()), verdicts)


@pytest.mark.parametrize("client", CLIENTS)
def test_bytes_and_rows_of_pixels_are_taken(
    client: str, ports: tuple[int, int], small: Guard
) -> None:
    pixels = np.nan_to_num(images().clip(0, 1) * 255).astype(np.uint8)
    flat = pixels.reshape(len(pixels), -1)
    assert_same(CLIENTS[client](ports, flat), small.predict(torch.tensor(pixels)))


@pytest.mark.parametrize("kind", ["whole", "fraction"])
def test_numbers_in_json(kind: str, ports: tuple[int, int], small: Guard) -> None:
    pixels = images()[:10]
    if kind == "whole":
        pixels = (pixels * 255).astype(np.uint8)
    assert_same(kserve_rest(ports, pixels, binary=False), small.predict(torch.tensor(pixels)))


def test_an_answer_has_the_id_and_the_outputs_that_were_asked_for(ports: tuple[int, int]) -> None:
    assert kserve_rest(ports, images()).id == "42"
    answer = triton_rest(ports, images(), ("label", "reason"))
    assert [tensor["name"] for tensor in answer.get_response()["outputs"]] == ["label", "reason"]


def test_it_describes_itself(ports: tuple[int, int]) -> None:
    client = pytest.importorskip("tritonclient.http").InferenceServerClient(f"127.0.0.1:{ports[0]}")
    about = client.get_model_metadata("small")
    assert about["inputs"] == [{"name": "images", "datatype": "FP32", "shape": [-1, *SHAPE]}]
    assert [tensor["name"] for tensor in about["outputs"]] == [*COLUMNS, "reason"]


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((2, 3), np.float32), r"shape \[2, 3\]: wanted \[B, 5, 4\]"),
        (np.zeros((257, 20), np.float32), "257 images: wanted at most 256"),
    ],
)
def test_what_is_no_request_is_the_clients_mistake(
    ports: tuple[int, int], pixels: Pixels, message: str
) -> None:
    from grpc.aio import AioRpcError
    from tritonclient.utils import InferenceServerException

    with pytest.raises(InferenceServerException, match=message) as refused:
        triton_rest(ports, pixels)
    assert refused.value.status() == "400"
    with pytest.raises(AioRpcError, match=message) as broken:
        kserve_grpc(ports, pixels)
    assert broken.value.code().name == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ({"name": "pixels"}, 'wanted one tensor, named "images"'),
        ({"datatype": "FP64"}, "'FP64': wanted FP32 or UINT8"),
        ({"datatype": "UINT8", "data": [0.5] * 20}, "wanted whole numbers"),
        ({"datatype": "UINT8", "data": [256] * 20}, "UINT8 is 0 to 255"),
        ({"data": ["1"] * 20}, "wanted numbers"),
        ({"data": [0.5] * 19}, "cannot reshape"),
    ],
)
def test_json_that_is_no_images_is_refused(
    ports: tuple[int, int], tensor: dict[str, Any], message: str
) -> None:
    import httpx

    usual = {"name": "images", "datatype": "FP32", "shape": [1, 20], "data": [0.5] * 20}
    url = f"http://127.0.0.1:{ports[0]}/v2/models/small/infer"
    answer = httpx.post(url, json={"inputs": [usual | tensor]}, timeout=60)
    assert answer.status_code == 400
    assert message in answer.json()["error"]

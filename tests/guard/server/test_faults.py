"""The application without a network: faults of its members, of its settings, and of clients."""

import asyncio
import gzip
import json
import logging

import numpy as np
import pytest
import torch

from denseam.errors import FileFormatError
from denseam.guard import REASONS, Guard
from denseam.guard.server import Settings, create_app
from denseam.guard.server.quarantine import Item
from guard import small

from .serving import request

INFER = "/v2/models/guard/infer"
IMAGES = (small.clean(20, seed=3).visible() / 2 + 0.5).reshape(-1, *small.SHAPE)


class App:
    """An application of a guard, its lifespan around it."""

    def __init__(self, classifier, **settings):
        members = small.memories(), classifier or small.memories(2.0)
        guard = Guard(*members, image_shape=small.SHAPE).calibrate(small.clean(), 0.05)
        self.app = create_app(guard, Settings(**{"database": None, **settings}))

    def ask(self, *bodies, path=INFER, method="POST", **headers):
        """Answers as (status, headers, JSON)."""

        async def main():
            async with self.app.router.lifespan_context(self.app):
                return [await self._asked(body, path, method, headers) for body in bodies]

        return asyncio.run(asyncio.wait_for(main(), 60))

    async def _asked(self, body, path, method, headers):
        given = {"host": "localhost", **headers}
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(),
            "query_string": b"", "client": ("127.0.0.1", 1), "http_version": "1.1",
            "headers": [(name.replace("_", "-").encode(), value.encode())
                        for name, value in given.items()],
        }  # fmt: skip
        sent = [{"type": "http.request", "body": body}]
        answers = []

        async def receive():
            return sent.pop() if sent else await asyncio.Event().wait()

        async def send(message):
            answers.append(message)

        await self.app(scope, receive, send)
        begin, *rest = answers
        found = {name.decode(): value.decode() for name, value in begin["headers"]}
        return begin["status"], found, json.loads(b"".join(each["body"] for each in rest))


def body(**more):
    return json.dumps(request(IMAGES, "FP32", **more)).encode()


def nan(images):
    return torch.full((len(images), 3), torch.nan)


def broken(_images):
    raise RuntimeError("secret")


@pytest.mark.parametrize(("classifier", "status"), [(nan, 502), (broken, 500)])
def test_what_a_member_does_wrong_is_no_fault_of_the_client(caplog, classifier, status):
    caplog.set_level(logging.INFO)
    ((found, headers, answer),) = App(classifier).ask(body(), x_request_id="mine")
    assert found == status
    assert headers["x-request-id"] == "mine"
    assert "mine" in answer["error"]
    assert "secret" not in answer["error"]
    (failed,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert failed.request_id == "mine"
    (line,) = [each for each in caplog.records if each.getMessage() == "request"]
    assert line.status == status


@pytest.mark.parametrize(
    "more",
    [{"outputs": [{"name": "colour"}]}, {"parameters": {"source": 7}},
     {"outputs": [{"name": "label"}] * 2}],
)  # fmt: skip
def test_what_is_refused_has_no_effect(tmp_path, monkeypatch, more):
    app = App(None, database=str(tmp_path / "q.sqlite"))
    service, looked = app.app.state.service, []
    monkeypatch.setattr(service.batcher, "ask", looked.append)
    ((status, _, _),) = app.ask(body(**more))
    assert status == 400
    assert looked == []


def test_a_compressed_body_is_told_so():
    ((status, headers, answer),) = App(None).ask(gzip.compress(body()), content_encoding="gzip")
    assert status == 415
    assert "gzip" in answer["error"]
    assert headers["accept-encoding"] == "identity"
    ((status, _, _),) = App(None).ask(body(), content_encoding="identity")
    assert status == 200


def test_it_names_the_one_input_that_it_takes():
    ((_, _, said),) = App(None).ask(b"", path="/v2/models/guard", method="GET")
    assert said["inputs"] == [{"name": "images", "datatype": "FP32", "shape": [-1, 5, 4]}]
    assert said["parameters"]["datatypes"] == ["FP32", "UINT8"]


EXPLAIN = "/v2/models/guard/explain"
ONE = IMAGES[:1].numpy()


@pytest.mark.parametrize("shape", [(1, 20), (1, 5, 4), (1, 1, 5, 4)], ids=str)
@pytest.mark.parametrize(
    ("pixels", "valid"),
    [
        ((255 * ONE).astype("u1"), True),
        (ONE, True),
        (ONE.clip(0.5) / ONE.clip(0.5).max() + np.float32(2e-7), True),
        (ONE + 1, False),
        (np.full_like(ONE, np.nan), False),
        (np.full_like(ONE, np.inf), False),
    ],
    ids=["uint8", "float32", "rounding beyond 1", "out of range", "NaN", "infinite"],
)
def test_explain_takes_what_infer_takes(pixels, valid, shape):
    tensor = {"name": "images", "datatype": "UINT8" if pixels.dtype == "u1" else "FP32",
              "shape": shape, "parameters": {"binary_data_size": pixels.nbytes}}  # fmt: skip
    head = json.dumps({"inputs": [tensor]}).encode()
    sent, length = head + pixels.tobytes(), {"inference_header_content_length": str(len(head))}
    ((judged, _, verdicts),) = App(None).ask(sent, **length)
    ((status, _, explained),) = App(None).ask(sent, path=EXPLAIN, **length)
    assert (judged, status) == (200, 200)
    outputs = {each["name"]: each["data"][0] for each in verdicts["outputs"]}
    assert (outputs["reason"] in ("nonfinite", "out_of_range")) == (not valid)
    assert bool(explained["votes"]) == valid
    assert explained["shape"] == [5, 4]


def test_the_description_has_every_field_of_an_item_and_every_route(tmp_path):
    app = App(None, database=str(tmp_path / "q.sqlite"))
    ((_, _, said),) = app.ask(b"", path="/openapi.json", method="GET")
    fields = ["image" if name == "pixels" else name for name in Item.__struct_fields__]
    described = said["components"]["schemas"]["Item"]
    assert sorted(described["properties"]) == sorted(described["required"]) == sorted(fields)
    assert described["properties"]["reason"]["enum"] == list(REASONS)
    routes = {route.path for route in app.app.routes if route.path.startswith(("/v2", "/quar"))}
    assert set(said["paths"]) == routes | {"/metrics"}
    ((_, _, without),) = App(None).ask(b"", path="/openapi.json", method="GET")
    assert set(without["paths"]) == {path for path in said["paths"] if "quarantine" not in path}
    label = said["components"]["schemas"]["Label"]["properties"]["label"]["anyOf"][0]
    assert (label["minimum"], label["maximum"]) == (-1, small.C - 1)


def test_the_description_lets_bytes_come_without_data():
    ((_, _, said),) = App(None).ask(b"", path="/openapi.json", method="GET")
    schemas = said["components"]["schemas"]
    sent = schemas["InferRequest"]["properties"]["inputs"]["items"]
    assert sent == {"$ref": "#/components/schemas/Input"}
    assert schemas["Input"]["required"] == ["name", "datatype", "shape"]
    answers = said["paths"]["/v2/models/{name}/infer"]["post"]["responses"]
    assert {"400", "415", "502"} <= set(answers)


def test_it_answers_to_the_name_that_it_listens_on_and_to_a_proxy_s():
    proxied = {"host": "127.0.0.2:8080", "origin": "https://guard.example"}
    for given in ({"host": "127.0.0.2:8080"}, {"host": "guard.example"}, proxied):
        app = App(None, host="127.0.0.2", allowed_hosts=["guard.example"])
        assert app.ask(body(), **given)[0][0] == 200
    app = App(None, host="127.0.0.2", allowed_hosts=["guard.example"])
    assert app.ask(body(), host="evil.example")[0][0] == 403


def test_a_database_that_is_none_ends_it_at_the_start(tmp_path):
    (tmp_path / "q.sqlite").write_text("minutes of the last meeting")
    with pytest.raises(FileFormatError, match=r"q\.sqlite is no SQLite database"):
        App(None, database=str(tmp_path / "q.sqlite"))
    assert [path.name for path in tmp_path.iterdir()] == ["q.sqlite"]

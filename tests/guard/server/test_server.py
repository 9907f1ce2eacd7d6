"""A real server on loopback: the protocol, the quarantine behind it, and everything it refuses."""

import base64
import concurrent.futures
import contextlib
import json
import math
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from denseam.guard.members.endpoint import Endpoint
from denseam.guard.server import Store
from denseam.guard.server.protocol import OUTPUTS

from .serving import eventually, request, serving

JUNK = np.full((1, 28, 28), 255)
INFER = "/v2/models/guard/infer"


def head(length, path=INFER):
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


def heard(connection):
    """All that comes until the other side closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def test_what_the_server_says_of_itself(server, guard):
    assert server.ask("GET", "/v2/health/live").json == {"live": True}
    assert server.ready() == {"ready": True, "quarantine": "ok", "waiting": 0}
    assert server.ask("GET", "/v2").json["models"] == ["guard"]
    described = server.ask("GET", "/v2/models/guard").json
    assert described["inputs"] == [{"name": "images", "datatype": "FP32", "shape": [-1, 28, 28]}]
    assert {each["name"]: each["datatype"] for each in described["outputs"]} == OUTPUTS
    assert described["parameters"]["guard"] == guard.to_json()
    assert server.ask("GET", "/v2/models/guard/ready").json == {"name": "guard", "ready": True}
    for path in ("/v2/models/other", "/v2/models/other/ready", "/nothing", "/v2/"):
        assert server.ask("GET", path).status == 404
    assert server.ask("GET", INFER).status == 405


def test_as_a_classifier_behind_another_guard_it_is_asked_as_it_says(server, guard, digits):
    endpoint = Endpoint(f"http://127.0.0.1:{server.port}/v2/models/guard", shape=(28, 28))
    verdicts = guard.predict(digits[2000:2064])
    images = digits[2000:2064][verdicts.accepted].flatten(1) / 127.5 - 1
    assert len(images) > 50
    assert endpoint.labels(images).tolist() == verdicts.labels[verdicts.accepted].tolist()


@pytest.mark.parametrize("kind", ["bytes", "images", "flat", "binary"])
def test_verdicts_are_those_of_the_guard(server, guard, digits, kind):
    images = digits[2000:2032]
    wanted = guard.predict(images)
    if kind == "bytes":
        answer = server.infer(images.numpy(), id="mine")
        assert answer.json["id"] == "mine"
    elif kind == "binary":
        answer = binary(server, (images.numpy() / 255).astype("<f4"), "FP32")
    else:
        unit = (images.double() / 255).numpy()
        answer = server.infer(unit if kind == "images" else unit.reshape(32, -1), "FP32")
    found = answer.outputs
    assert found["label"] == wanted.labels.tolist()
    assert found["accepted"] == wanted.accepted.tolist()
    assert found["score"] == pytest.approx(wanted.scores.tolist(), rel=1e-4)
    assert found["reason"] == [reason or "" for reason in wanted.reasons]
    assert [bool(each) for each in found["quarantine_id"]] == (~wanted.accepted).tolist()


def binary(server, array, datatype, **more):
    tensor = {"name": "images", "datatype": datatype, "shape": list(array.shape),
              "parameters": {"binary_data_size": array.nbytes}}  # fmt: skip
    text = json.dumps({"inputs": [tensor], **more}).encode()
    length = {"Inference-Header-Content-Length": str(len(text))}
    return server.ask("POST", INFER, text + array.tobytes(), **length)


def test_outputs_come_as_bytes_where_they_are_asked_for(server, digits):
    images = np.concatenate([digits[:1].numpy(), JUNK.astype(np.uint8)])
    plain = server.infer(images).outputs
    answer = binary(server, images, "UINT8", parameters={"binary_data_output": True},
                    outputs=[{"name": "score"}, {"name": "accepted"}, {"name": "reason"},
                             {"name": "label", "parameters": {"binary_data": False}}])  # fmt: skip
    length = int(answer.headers["inference-header-content-length"])
    outputs = json.loads(answer.body[:length])["outputs"]
    sizes = [output["parameters"]["binary_data_size"] for output in outputs[:3]]
    assert sum(sizes) == len(answer.body) - length
    parts = np.split(np.frombuffer(answer.body[length:], np.uint8), np.cumsum(sizes)[:-1])
    scores = np.frombuffer(parts[0].tobytes(), "<f8")
    assert scores.tolist() == plain["score"]
    assert parts[1].tolist() == [1, 0]
    why = b"low_confidence"
    assert parts[2].tobytes() == struct.pack("<II", 0, len(why)) + why
    assert outputs[3]["data"] == plain["label"]
    assert server.infer(images, outputs=[{"name": "colour"}]).status == 400


def test_values_that_no_image_has_get_a_verdict(server):
    images = np.zeros((3, 28, 28), "<f4")
    images[0, 3, 4], images[1, 5, 6], images[2, 0, 0] = np.nan, np.inf, 1.5
    found = binary(server, images, "FP32").outputs
    assert found["reason"] == ["nonfinite", "nonfinite", "out_of_range"]
    assert found["label"] == [-1] * 3
    assert found["score"] == [None] * 3
    assert all(found["quarantine_id"])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    array=hnp.arrays(
        st.sampled_from([np.dtype("<f4"), np.dtype("u1")]),
        st.one_of(
            st.sampled_from([(1, 784), (2, 28, 28), (65, 784), (3, 1, 28, 28), (0, 784)]),
            hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5),
        ),
        elements=st.just(0),
        fill=st.just(0),
    ),
    values=st.lists(st.floats(width=32), max_size=4),
    as_bytes=st.booleans(),
)
def test_whatever_the_tensor_no_answer_is_an_error_of_the_server(server, array, values, as_bytes):
    if array.dtype == "<f4" and array.size >= len(values):
        array.ravel()[: len(values)] = values
    datatype = "UINT8" if array.dtype == "u1" else "FP32"
    answer = binary(server, array, datatype) if as_bytes else server.infer(array, datatype)
    fits = array.shape[1:] in ((784,), (28, 28), (1, 28, 28)) and 0 < len(array) <= 64
    finite = as_bytes or datatype == "UINT8" or all(map(math.isfinite, values))
    assert answer.status == (200 if fits and finite else 400)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hnp.arrays(np.dtype("<f4"), (1, 784), elements=st.floats(width=32)))
def test_every_image_of_floats_gets_a_verdict(server, array):
    found = binary(server, array, "FP32").outputs
    assert np.isfinite(array).all() or found["reason"] == ["nonfinite"]
    assert found["accepted"][0] or found["label"] == [-1]


def test_what_is_set_aside_can_be_listed_seen_and_labelled(server):
    sent = np.arange(784).reshape(1, 28, 28) % 256
    (key,) = server.infer(sent, parameters={"source": "me"}).outputs["quarantine_id"]
    path = f"/quarantine/{key}"
    item = eventually(lambda: (found := server.ask("GET", path)).status == 200 and found.json)
    assert (item["source"], item["reason"], item["label"]) == ("me", "low_confidence", None)
    assert list(base64.b64decode(item["image"])) == sent.ravel().tolist()
    listed = server.ask("GET", "/quarantine?limit=1&labelled=false").json
    assert len(listed["items"]) == 1
    assert server.ask("POST", f"{path}/label", {"label": 3}).json["label"] == 3
    labelled = server.ask("GET", "/quarantine?labelled=true").json["items"]
    assert key in [each["id"] for each in labelled]
    assert server.ask("POST", f"{path}/label", {"label": None}).json["reviewed_at"] is None
    for wrong in ({"label": 10}, {"label": "3"}, {"label": 1.5}, {}, [], {"label": 1, "x": 2}):
        assert server.ask("POST", f"{path}/label", wrong).status == 400
    other = "00000000-0000-0000-0000-000000000000"
    assert server.ask("GET", f"/quarantine/{other}").status == 404
    for query in ("limit=0", "limit=x", "limit=201", "before=x", "labelled=no", "reason=none"):
        assert server.ask("GET", f"/quarantine?{query}").status == 400


def test_the_memories_that_voted_are_named(server, digits):
    body = request(digits[:1].numpy())
    found = server.ask("POST", "/v2/models/guard/explain", body).json
    assert found["votes"][0]["label"] == 7
    assert len(found["votes"][0]["memories"]) == 8
    two = request(digits[:2].numpy())
    assert server.ask("POST", "/v2/models/guard/explain", two).status == 400


def test_paths_may_name_the_version(server, digits):
    model, body = "/v2/models/guard", request(digits[:1].numpy())
    described = server.ask("GET", model).json
    assert described["versions"] == ["1"]
    for path in ("", "/ready"):
        plain = server.ask("GET", f"{model}{path}").json
        assert server.ask("GET", f"{model}/versions/1{path}").json == plain
    for path in ("/infer", "/explain"):
        plain = server.ask("POST", f"{model}{path}", body).json
        assert server.ask("POST", f"{model}/versions/1{path}", body).json == plain
    assert server.ask("POST", f"{model}/infer", body).json["model_version"] == "1"
    for path in ("", "/ready"):
        refused = server.ask("GET", f"{model}/versions/2{path}")
        assert (refused.status, "no version '2'" in refused.json["error"]) == (404, True)
    assert server.ask("POST", f"{model}/versions/01/infer", body).status == 404
    assert server.ask("GET", "/v2/models/other/versions/1").status == 404


def test_bodies_that_are_none_get_one_clear_line(server):
    bodies = [b"", b"no json", b"[1, 2", b"\xff" * 100, json.dumps({"inputs": []}).encode(),
              json.dumps(request([[[math.nan]]], "FP32")).encode()]  # fmt: skip
    for body in bodies:
        answer = server.ask("POST", INFER, body)
        assert answer.status == 400
        assert "\n" not in answer.json["error"]
    assert server.infer(np.zeros((65, 28, 28), int)).status == 400
    assert server.infer(np.zeros((1, 27, 28), int)).status == 400


def test_bodies_that_are_too_long_are_refused_told_or_not(server):
    assert server.ask("POST", INFER, b" " * ((1 << 20) + 1)).status == 413
    with server.socket() as connection:  # in chunks, without a length
        connection.sendall(head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(40):
                connection.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        assert heard(connection).startswith(b"HTTP/1.1 413")
    with server.socket() as connection:  # told, and never sent
        connection.sendall(head(10**15))
        assert heard(connection).startswith(b"HTTP/1.1 413")


def test_slow_clients_are_not_waited_for(server):
    """Neither for the head, nor the body, nor the one after an answer."""
    slow_head, silent, slow_body, after = (server.socket() for _ in range(4))
    with slow_head, silent, slow_body, after:
        slow_head.sendall(b"POST /v2 HTTP/1.1\r\nHost: loc")
        slow_body.sendall(head(100) + b"{")
        after.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += after.recv(1 << 16)
        assert answer.startswith(b"HTTP/1.1 200")
        after.sendall(b"\r\n")
        assert heard(slow_head) == b""
        assert heard(silent) == b""
        assert heard(slow_body).startswith(b"HTTP/1.1 408")
        assert heard(after) == b""


def test_a_head_without_end_is_cut_off(server):
    with server.socket() as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n")
        line = b"X-Header: " + b"x" * 1000 + b"\r\n"
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(20_000 * line)


def test_a_body_that_breaks_off_harms_nobody(server, digits):
    for _ in range(20):
        with server.socket() as connection:
            connection.sendall(head(5000) + b'{"inputs": [')
    assert server.infer(digits[:1].numpy()).status == 200


def test_a_thousand_connections(server, digits):
    """All at once, half of them idle; each of the others gets its verdict, or is told to wait."""
    text = json.dumps(request(digits[:1].numpy())).encode()
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(server.socket()) for _ in range(1000)]
        for connection in connections[::2]:
            connection.sendall(head(len(text)) + text)
        answers = [connection.recv(1 << 16)[:12] for connection in connections[::2]]
    assert set(answers) <= {b"HTTP/1.1 200", b"HTTP/1.1 429"}
    assert answers.count(b"HTTP/1.1 200") >= 100
    assert eventually(lambda: server.metric("denseam_guard_images_under_way") == 0)


def test_more_than_the_queue_holds_is_told_to_wait(server, digits):
    images = digits[:64].numpy()
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: server.infer(images), range(72)))
    assert {answer.status for answer in answers} == {200, 429}
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.headers["retry-after"] == "1"
    assert server.metric("denseam_guard_refused_total") > 0


def test_another_name_or_another_page_is_refused(server):
    body = request(JUNK)
    assert server.ask("POST", INFER, body, Host="evil.example").status == 403
    assert server.ask("POST", INFER, body, Origin="http://evil.example").status == 403
    origin = f"http://127.0.0.1:{server.port}"
    assert server.ask("POST", INFER, body, Origin=origin).status == 200
    answer = server.ask("GET", "/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "access-control-allow-origin" not in answer.headers


def test_the_log_is_json_and_names_the_request(server):
    answer = server.infer(JUNK, id="x")
    name = answer.headers["x-request-id"]
    (line,) = eventually(lambda: [each for each in server.log() if each.get("request_id") == name])
    assert (line["path"], line["status"], line["images"], line["rejected"]) == (INFER, 200, 1, 1)
    answer = server.ask("GET", "/v2", X_Request_Id="my-own")
    assert answer.headers["x-request-id"] == "my-own"
    assert server.ask("GET", "/v2", X_Request_Id="a b").headers["x-request-id"] != "a b"


def test_metrics_count(server, digits):
    before = server.metric("denseam_guard_verdicts_total")
    server.infer(digits[:5].numpy())
    assert server.metric("denseam_guard_verdicts_total") == before + 5
    kept = server.metric("denseam_guard_quarantine_kept_total")
    assert eventually(lambda: server.metric("denseam_guard_quarantine_stored_total") >= kept)
    assert server.metric("denseam_guard_quarantine_database_up") == 1


def test_keys_are_wanted_where_there_are_some_and_never_logged(guard_file, tmp_path, digits):
    key = "a-secret-key-of-ours"
    (tmp_path / "keys").write_text(f"tester {key}\n")
    with serving(guard_file, tmp_path, api_key_file=str(tmp_path / "keys")) as server:
        for path in ("/", "/docs", "/v2/health/live", "/v2/health/ready", "/page/page.js"):
            assert server.ask("GET", path).status == 200
        assert server.infer(JUNK).status == 401
        assert server.ask("GET", "/quarantine").status == 401
        assert server.ask("GET", "/metrics").status == 401
        server.headers["authorization"] = f"Bearer {key}"
        (item,) = server.infer(JUNK).outputs["quarantine_id"]
        found = eventually(lambda: server.ask("GET", "/quarantine").json["items"])
        assert (found[0]["id"], found[0]["key"]) == (item, "tester")
        assert server.stop() == 0
        assert key not in server.log_path.read_text()
        assert "tester" in server.log_path.read_text()


def test_stopping_answers_what_was_accepted_and_empties_the_journal(guard_file, tmp_path, digits):
    with serving(guard_file, tmp_path) as server:
        images = np.repeat(JUNK, 64, 0)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(server.infer, images) for _ in range(8)]
            eventually(lambda: server.metric("denseam_guard_images_under_way") or futures[0].done())
            code = server.stop()
            answers = []
            for future in futures:
                with contextlib.suppress(ConnectionError):
                    answers.append(future.result())
        assert code == 0
        assert server.process.stdout.read() == "stopped\n"
        assert [
            (answer.status, answer.body[:99]) for answer in answers if answer.status != 200
        ] == []
        assert list((tmp_path / "quarantine.sqlite.spool").iterdir()) == []
        with pytest.raises(ConnectionError):
            server.ask("GET", "/v2")
    store = Store(str(tmp_path / "quarantine.sqlite"))
    assert store.count() >= 64 * len(answers) > 0

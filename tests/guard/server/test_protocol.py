"""The tensors of a request, against the same arrays in NumPy."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from denseam.guard.server.protocol import BINARY, decode
from denseam.guard.server.refusals import RefusedError

N, SHAPE = 6, (2, 3)


def body(tensor=None, **more):
    usual = {"name": "images", "datatype": "FP32", "shape": [1, N], "data": [0.5] * N}
    return json.dumps({"inputs": [{**usual, **(tensor or {})}], **more}).encode()


def images(payload, header=None, shape=SHAPE):
    return decode(payload, header, N, shape)[1]


def refused(payload, header=None):
    with pytest.raises(RefusedError) as caught:
        decode(payload, header, N, SHAPE)
    assert caught.value.status == 400
    return str(caught.value)


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 5), st.just(N)),
               elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
    st.sampled_from([(N,), SHAPE, (1, *SHAPE)]),
    st.booleans(),
)  # fmt: skip
def test_floats_come_as_they_were_sent(array, shape, nested):
    sent = array.reshape(-1, *shape)
    data = sent.tolist() if nested else sent.ravel().tolist()
    found = images(body({"shape": list(sent.shape), "data": data}))
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), array.reshape(-1, *SHAPE))


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.just(N))), st.booleans())
def test_bytes_come_as_they_were_sent(array, binary):
    tensor = {"datatype": "UINT8", "shape": list(array.shape), "data": array.tolist()}
    tail = b""
    if binary:
        del tensor["data"]
        tensor["parameters"] = {"binary_data_size": array.size}
        tail = array.tobytes()
    head = body(tensor).replace(b', "data": [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]', b"")
    found = images(head + tail, str(len(head)) if binary else None)
    assert np.array_equal(found.numpy(), array.reshape(-1, *SHAPE))


def test_nan_comes_only_as_bytes():
    array = np.array([[np.nan, np.inf, -np.inf, 0, 1, 2]], "<f4")
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, N],
              "parameters": {"binary_data_size": 24}}  # fmt: skip
    head = json.dumps({"inputs": [tensor]}).encode()
    found = images(head + array.tobytes(), str(len(head)))
    assert np.array_equal(found.numpy().ravel(), array[0], equal_nan=True)
    assert "not the JSON" in refused(body({"data": [float("nan")] * N}))


def test_a_number_beyond_float32_is_large_and_not_infinite():
    found = images(body({"data": [1e39, -1e300, 0, 1, 2, 3]}))
    assert bool(found.isfinite().all())
    assert float(found[0, 0, 0]) == np.finfo(np.float32).max


def test_bytes_that_nobody_spoke_of_are_refused():
    text = body()
    assert "4 bytes after" in refused(text + b"1234", str(len(text)))


def test_without_a_shape_of_its_own_a_guard_takes_any_that_fits():
    assert images(body({"shape": [1, 3, 2]}), shape=None).shape == (1, 3, 2)
    assert images(body(), shape=None).shape == (1, 1, N)


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        ({"name": "image"}, "one tensor"),
        ({"datatype": "FP64"}, "FP32 or UINT8"),
        ({"shape": [2, N]}, "6 numbers"),
        ({"shape": [1, 3, 2]}, "[B, 6]"),
        ({"shape": [1, 2, 2, 3]}, "6 numbers"),
        ({"shape": [N]}, "wanted"),
        ({"shape": [0, N], "data": []}, "at least one"),
        ({"shape": [-1, -N]}, "6 numbers"),
        ({"shape": [2**70, N]}, "6 numbers"),
        ({"shape": [1.5, N]}, "JSON"),
        ({"data": [True] * N}, "numbers"),
        ({"data": ["0.5"] * N}, "numbers"),
        ({"data": [None] * N}, "numbers"),
        ({"data": [[0.5] * 3, 0.5, 0.5, 0.5]}, "numbers"),
        ({"data": "0.5"}, "numbers"),
        ({"data": {}}, "numbers"),
        ({"data": [[[[[[0.5] * N]]]]]}, "numbers"),
        ({"datatype": "UINT8", "data": [0.5] * N}, "whole numbers"),
        ({"datatype": "UINT8", "data": [256] * N}, "0 to 255"),
        ({"datatype": "UINT8", "data": [-1] * N}, "0 to 255"),
        ({"datatype": "UINT8", "data": [2**80] * N}, "numbers"),
        ({"parameters": {"binary_data_size": 24}}, "bytes after"),
        ({"parameters": {"binary_data_size": True}}, "bytes after"),
    ],
)
def test_a_tensor_that_is_none_is_refused(tensor, said):
    assert said in refused(body(tensor))


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"inputs": []}', b'{"inputs": [1]}', b"[" * 100_000,
     b'{"inputs":' + b'{"a":' * 100_000, body()[:-1], body() + b"x", body(id="x" * 129),
     body(id="a\nb"), body(id=7), body({"data": json.loads("[" * 60 + "]" * 60)})],
)  # fmt: skip
def test_a_body_that_is_none_is_refused(payload):
    refused(payload)


@pytest.mark.parametrize("header", ["x", "-1", "9999", "1e3", "٣", "1" * 30, ""])
def test_a_length_that_is_none_is_refused(header):
    assert BINARY in refused(body(), header)


def test_who_sends_it_is_short_and_printable():
    def source(value):
        return decode(body(parameters={"source": value}), None, N, SHAPE)[0].source

    assert source("Zoë") == "Zoë"
    assert source(None) is None
    for wrong in ("x" * 129, "a\x00b", 7, True):
        with pytest.raises(RefusedError, match="printable"):
            source(wrong)


@given(st.binary(max_size=200), st.one_of(st.none(), st.integers(-5, 300).map(str)))
def test_whatever_comes_is_an_inference_or_is_refused(payload, header):
    try:
        decode(payload, header, N, SHAPE)
    except RefusedError as error:
        assert error.status == 400  # noqa: PT017

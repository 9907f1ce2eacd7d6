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
from denseam.guard.server.tensors import plain

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
        ({"shape": [1, 2, 2, 3]}, "[B, 1, 2, 3]"),
        ({"shape": [N]}, "wanted"),
        ({"shape": []}, "wanted"),
        ({"shape": [1, 1, 1, 2, 3]}, "wanted"),
        ({"shape": "1"}, "shape"),
        ({"shape": [0, N], "data": []}, "at least one"),
        ({"shape": [-1, -N]}, "[B, 6]"),
        ({"shape": [-1, N]}, "at least one"),
        ({"shape": [2**70, N]}, "at most 256"),
        ({"shape": [10**4200, N]}, "at most 256"),
        ({"shape": [1.5, N]}, "shape"),
        ({"data": [True] * N}, "numbers"),
        ({"data": ["0.5"] * N}, "numbers"),
        ({"data": [None] * N}, "numbers"),
        ({"data": [[0.5] * 3, 0.5, 0.5, 0.5]}, "numbers"),
        ({"data": "0.5"}, "numbers"),
        ({"data": {}}, "numbers"),
        ({"data": [[0.5] * 4, [0.5] * 2], "shape": [1, 2, 3]}, "numbers"),
        ({"data": [[], [0.5] * N]}, "numbers"),
        ({"data": []}, "1 numbers"),
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
     b'{"inputs":' + b'{"a":' * 100_000, b'{"inputs": [{"shape": ' + b"[" * 100_000,
     body().replace(b"[1, 6]", b"[" + b"9" * 5000 + b", 6]"), body()[:-1], body() + b"x",
     body(id="x" * 129), body(id="a\nb"), body(id=7),
     body({"data": json.loads("[" * 60 + "]" * 60)})],
)  # fmt: skip
def test_a_body_that_is_none_is_refused(payload):
    refused(payload)


@pytest.mark.parametrize("member", ["id", "outputs", "parameters"])
def test_null_for_an_optional_member_is_as_if_it_were_not_there(member):
    assert decode(body(**{member: None}), None, N, SHAPE)[0] == decode(body(), None, N, SHAPE)[0]


def test_null_for_an_optional_member_of_a_tensor_is_as_if_it_were_not_there():
    assert torch.equal(images(body({"parameters": None})), images(body()))
    outputs = [{"name": "label", "parameters": None}]
    assert not decode(body(outputs=outputs), None, N, SHAPE)[0].binary("label")
    tensor = {"data": None, "parameters": {"binary_data_size": 4 * N}}
    head = body(tensor)
    assert images(head + bytes(4 * N), str(len(head))).tolist() == [[[0.0] * 3] * 2]
    assert "shape" in refused(body({"shape": None}))
    assert "data" in refused(body({"data": None}))


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


@pytest.mark.parametrize(
    ("outputs", "said"),
    [([{"name": "colour"}], "colour"), ([{"name": "x" * 9000}], "outputs"),
     ([{"name": "label"}] * 2, "once"), ([{"name": "label"}] * 5000, "outputs")],
)  # fmt: skip
def test_outputs_that_there_are_not_are_refused_before_anything_is_done(outputs, said):
    assert said in refused(body(outputs=outputs))


def test_no_more_images_than_a_batch_has():
    sent = body({"shape": [3, N], "data": [0.5] * 3 * N})
    assert len(decode(sent, None, N, SHAPE, max_batch=3)[1]) == 3
    with pytest.raises(RefusedError, match="3 images: wanted at most 2") as caught:
        decode(sent, None, N, SHAPE, max_batch=2)
    assert caught.value.why == "too_many"


@pytest.mark.parametrize("indent", [None, 2, 4, 8])
@pytest.mark.parametrize("shape", [(N,), SHAPE, (1, *SHAPE)])
def test_white_space_means_nothing(indent, shape):
    array = np.arange(5 * N, dtype=np.float32).reshape(5, *shape) / 7
    tensor = {"name": "images", "datatype": "FP32", "shape": [5, *shape], "data": array.tolist()}
    found = images(json.dumps({"inputs": [tensor]}, indent=indent).encode())
    assert np.array_equal(found.numpy(), array.reshape(5, *SHAPE))


def tensor_of(part, text):
    usual = {"name": '"images"', "datatype": '"FP32"', "shape": "[1,6]", "data": "[0]"}
    pairs = ",".join(f'"{name}":{value}' for name, value in {**usual, part: text}.items())
    return f'{{"inputs":[{{{pairs}}}]}}'.encode()


LARGE = {
    "shape": tensor_of("shape", "[" + ",".join(["999999999"] * 80_000) + "]"),
    "data, nested": tensor_of("data", "[" + ",".join(["[[[0]]]"] * 100_000) + "]"),
    "data, flat": tensor_of("data", "[" + ",".join(["0"] * 400_000) + "]"),
    "parameters": tensor_of("parameters", "{" + ",".join(f'"{i}":0' for i in range(5000)) + "}"),
    "outputs": tensor_of("data", "[]")[:-1] + b',"outputs":[' + b'{"name":""},' * 5000 + b"{}]}",
    "id": tensor_of("data", "[]")[:-1] + b',"id":"' + b"x" * 100_000 + b'"}',
}


@pytest.mark.parametrize("kind", LARGE)
def test_what_is_too_long_for_what_it_is_is_refused_before_it_is_decoded(kind):
    """Or one body of 8 MiB holds up everybody for seconds."""
    said = refused(LARGE[kind])
    assert said.startswith(kind.split(",")[0])
    assert "bytes" in said


def test_a_second_input_is_not_decoded():
    one = tensor_of("data", "[]")[11:-2]
    assert "length 1" in refused(b'{"inputs":[' + one + b',{"name":7}]}')


def test_numbers_that_float32_has_not_are_made_ones_that_are_read_fast():
    """A double below 2.2e-308 takes fifty times as long as others."""
    assert plain(b"[1e-310,-5E-0324,1.5e-30,0.1e-002]") == b"[1e-99,-5e-99,1.5e-30,0.1e-002]"


def test_small_numbers_are_what_they_are():
    sent = [1e-5, 1.5e-30, 1e-99, 2e-100, 5e-324, 1e-3]
    assert images(body({"data": sent})).ravel().tolist() == np.float32(sent).tolist()


@given(st.binary(max_size=200), st.one_of(st.none(), st.integers(-5, 300).map(str)))
def test_whatever_comes_is_an_inference_or_is_refused(payload, header):
    try:
        decode(payload, header, N, SHAPE)
    except RefusedError as error:
        assert error.status == 400  # noqa: PT017

"""Classifiers of every kind behind a guard."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from denseam import Guard
from denseam.data import ImageSet
from denseam.errors import (
    AnswerError,
    DataUnavailableError,
    DenseAMWarning,
    EndpointError,
    FileFormatError,
    InputError,
    MissingPackageError,
)
from denseam.guard import members
from denseam.guard.members import MEMBERS, Member, member_of
from denseam.guard.members.base import shown
from denseam.guard.members.endpoint import Endpoint
from denseam.guard.members.layout import Input
from denseam.interop import export_onnx

from . import small


@pytest.fixture
def visible():
    return small.clean(70, seed=4).visible()


def labels(visible):
    return small.memories().predict(visible)


class Estimator:
    """scikit-learn's methods, and nothing of scikit-learn."""

    def __init__(self, classes):
        self.classes_ = np.array(classes)

    def predict(self, flat):
        assert isinstance(flat, np.ndarray)
        assert flat.shape[1:] == (small.N,)
        assert flat.min() >= 0
        found = labels(torch.from_numpy(2 * flat - 1).float()).numpy()
        return self.classes_[found]


class Scores(torch.nn.Module):
    """(B, 1, H, W) in [0, 1] to scores (B, C)."""

    def forward(self, images):
        assert images.shape[1:] == (1, *small.SHAPE)
        return small.memories().log_energy((2 * images.flatten(1) - 1).clamp(-1, 1))


def test_every_kind_gives_the_same_labels(visible):
    wanted = labels(visible)
    network = small.memories()
    for given in (
        network,
        Scores(),
        Scores().eval(),
        Estimator([0, 1, 2]),
        Estimator([0.0, 1.0, 2.0]),
        Estimator(["0", "1", "2"]),
        Scores().forward,
        lambda images: Scores()(images).argmax(dim=1).numpy(),
        lambda images: Scores()(images).detach().numpy().tolist(),
    ):
        member = member_of(given, shape=small.SHAPE)
        assert torch.equal(member.labels(visible), wanted), given
        assert member.labels(visible[:0]).shape == (0,)
        assert json.dumps(member.describe())


def test_estimators_keep_labels_that_are_numbers(visible):
    member = member_of(Estimator([10, 20, 30]), shape=small.SHAPE)
    assert set(member.labels(visible).tolist()) == {10, 20, 30}


LABELS = {
    "ints": np.array([1, 3, 7]), "floats": np.array([1.0, 3.0, 7.0]), "half": np.float16([1, 3, 7]),
    "numerals": np.array(["1", "3", "7"]), "bytes": np.array([b"1", b"3", b"7"]),
    "objects": np.array([1, "3", np.float32(7)], object), "unsigned": np.uint64([1, 3, 7]),
    "another order": np.array([7, 1, 3]),
}  # fmt: skip


FORMS = [np.asarray, list, pd.Series, lambda y: y[:, None], lambda y: pd.Categorical(y.tolist())]


@pytest.mark.parametrize("classes", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("says", [True, False])
def test_labels_of_an_estimator_are_its_own(visible, classes, says):
    """Not their positions among its classes: a 7 of the classes 1, 3 and 7 is a 7."""
    expected = torch.tensor([int(each) for each in classes])[labels(visible)]
    for form in FORMS:
        estimator = Estimator(classes)
        answer = classes[labels(visible)]
        estimator.predict = lambda flat, form=form, answer=answer: form(answer)
        if not says:
            del estimator.classes_
        member = member_of(estimator, shape=small.SHAPE)
        assert torch.equal(member.labels(visible), expected)
        assert member.n_classes == (8 if says else None)


def test_truth_values_of_an_estimator_are_labels(visible):
    member = member_of(Estimator([False, True, True][:2]), shape=small.SHAPE)
    assert member.n_classes == 2
    member = member_of(Estimator(np.array([False, True, 2], object)), shape=small.SHAPE)
    assert torch.equal(member.labels(visible), labels(visible))


def test_texts_of_an_estimator_are_labels_by_the_names_of_the_classes(tmp_path, visible):
    names = ("zebra", "ant", "bee")  # the detector's order, not the alphabet's
    estimator = Estimator(["zebra", "ant", "bee"])
    with pytest.raises(InputError, match=r"classes_ of the classifier: the label 'zebra'.*class_n"):
        Guard(small.memories(), estimator, image_shape=small.SHAPE)
    guard = Guard(small.memories(), estimator, image_shape=small.SHAPE, class_names=names)
    verdicts = guard.calibrate(small.clean(), 0.05).predict(visible)
    assert torch.equal(verdicts.labels[verdicts.accepted], labels(visible)[verdicts.accepted])
    guard.save(tmp_path)
    again = Guard.load(tmp_path, classifier=estimator).predict(visible)
    assert torch.equal(again.labels, verdicts.labels)
    said = np.array(names)[labels(visible)]
    function = member_of(lambda images: said, takes="flat", class_names=names)
    assert torch.equal(function.labels(visible), labels(visible))


@pytest.mark.parametrize(
    "classes",
    [
        [0.0, 0.5, 7.0], [-1, 0, 1], ["a", "b", "c"], [0, 1, None], [np.nan, 1.0, 2.0],
        np.array([0, 1, 2], "M8[D]"), [1j, 2j, 3j], [0, 1, 2**63],
        [np.array([0, 1]), np.array([0, 1])], [0.0, 1.0, np.inf],
    ],
)  # fmt: skip
def test_labels_of_an_estimator_that_are_no_numbers_of_classes_are_refused(classes, visible):
    estimator = Estimator([0, 1, 2])
    estimator.classes_ = classes
    with pytest.raises(InputError, match="classes_ of the classifier"):
        member_of(estimator, shape=small.SHAPE)
    del estimator.classes_
    estimator.predict = lambda flat: [classes[i % len(classes)] for i in range(len(flat))]
    with pytest.raises(AnswerError, match="the classifier returned"):
        member_of(estimator, shape=small.SHAPE).labels(visible)


def test_an_estimator_may_answer_with_scores(visible):
    estimator = Estimator([0, 1, 2])
    estimator.predict = lambda flat: np.eye(3)[labels(torch.from_numpy(2 * flat - 1).float())]
    member = member_of(estimator, shape=small.SHAPE)
    assert torch.equal(member.labels(visible), labels(visible))


@pytest.mark.parametrize(
    ("classes", "expected"), [([3, 5, 8], 9), ([0, 1, 2], 3), (["2", "1", "0"], 3)]
)
def test_every_label_of_an_estimator_is_below_its_number_of_classes(visible, classes, expected):
    member = member_of(Estimator(classes), shape=small.SHAPE)
    assert member.n_classes == expected
    assert int(member.labels(visible).max()) < expected


@pytest.mark.parametrize(
    "layer", [torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(small.C, affine=False)]
)
def test_modules_that_are_training_are_refused(visible, layer):
    module = torch.nn.Sequential(Scores(), layer)
    refused = f"the model's {type(layer).__name__} is training"
    with pytest.raises(InputError, match=refused):
        member_of(module, shape=small.SHAPE)
    member = member_of(module.eval(), shape=small.SHAPE)
    assert torch.equal(member.labels(visible), labels(visible))
    module.train()
    with pytest.raises(InputError, match=refused):
        member.labels(visible)


@pytest.mark.parametrize(
    ("takes", "shape", "dtype"),
    [
        ("visible", (2, 20), torch.float32), ("flat", (2, 20), torch.float32),
        ("images", (2, 1, 5, 4), torch.float32), ("bytes", (2, 5, 4), torch.uint8),
    ],
)  # fmt: skip
def test_how_images_are_shown(takes, shape, dtype):
    visible = torch.linspace(-1, 1, 40).reshape(2, 20)
    images = shown(visible, "visible", takes, small.SHAPE)
    assert (tuple(images.shape), images.dtype) == (shape, dtype)
    low, high = {"visible": (-1, 1), "bytes": (0, 255)}.get(takes, (0, 1))
    assert (float(images.min()), float(images.max())) == (low, high)


class Bits(torch.nn.Module):
    """Labels that hang on the last bit of every pixel."""

    def forward(self, images):
        numbers = images.flatten(1)
        if numbers.dtype == torch.float32:
            numbers = numbers.view(torch.int32)
        return numbers.long().sum(dim=1) % 7


BYTES = torch.randint(256, (300, *small.SHAPE), generator=torch.Generator().manual_seed(1)).byte()
UNIT = torch.rand(300, *small.SHAPE, generator=torch.Generator().manual_seed(2)).square()


@pytest.mark.parametrize("kind", [Bits, lambda: Bits().forward], ids=["module", "function"])
@pytest.mark.parametrize(
    ("given", "takes", "shown"),
    [
        (UNIT, "images", UNIT[:, None]), (UNIT[:, None], "flat", UNIT.flatten(1)),
        (2 * UNIT.flatten(1) - 1, "visible", 2 * UNIT.flatten(1) - 1), (BYTES, "bytes", BYTES),
        (BYTES, "images", BYTES / 255), (BYTES.flatten(1), "visible", BYTES / 127.5 - 1),
        (ImageSet(BYTES, torch.zeros(300, dtype=torch.int64), 1), "bytes", BYTES),
        (UNIT, "visible", 2 * UNIT - 1), (UNIT, "bytes", (UNIT * 255).round().byte()),
    ],
)  # fmt: skip
def test_images_are_shown_as_they_were_given(kind, given, takes, shown):
    """Labels behind the guard are those without it, to the last bit of a pixel."""
    guard = Guard(lambda v: v[:, 0] * 0, kind(), image_shape=small.SHAPE, takes=takes)
    labels = guard.calibrate(given, 0.05).predict(given).labels
    assert torch.equal(labels, Bits()(shown))
    assert len(labels.unique()) > 3


def test_a_kind_of_classifier_is_a_class_and_a_row(visible, monkeypatch):
    class Table(Member):
        kind = "table"
        takes = "bytes"

        @classmethod
        def serves(cls, classifier):
            return isinstance(classifier, dict)

        def _ask(self, images):
            return [self.classifier[int(image[0, 0]) > 127] for image in images]

    monkeypatch.setattr(members, "MEMBERS", (Table, *MEMBERS))
    guard = Guard(small.memories(), {False: 1, True: 2}, image_shape=small.SHAPE)
    verdicts = guard.calibrate(small.clean(), 0.05).predict(visible)
    wanted = 1 + (visible[:, 0] > 0).long()
    assert torch.equal(verdicts.labels[verdicts.accepted], wanted[verdicts.accepted])
    assert guard.to_json()["classifier"] == {"kind": "table", "takes": "bytes"}


def test_preprocessing_comes_after(visible):
    seen = []

    def keep(images):
        seen.append(images.shape)
        return images - 0.5

    def classify(images):
        assert float(images.min()) >= -0.5
        assert float(images.max()) <= 0.5
        return Scores()(images + 0.5)

    guard = Guard(
        small.memories(), classify, takes="images", preprocess=keep, image_shape=small.SHAPE
    )
    guard.calibrate(small.clean(), 0.05)
    found = guard.predict(visible)
    assert torch.equal(found.labels[found.accepted], labels(visible)[found.accepted])
    assert seen == [(int(found.accepted.sum()), 1, *small.SHAPE)]
    network = member_of(small.memories(), preprocess=lambda v: -v)
    assert torch.equal(network.labels(visible), labels(-visible))
    network = member_of(
        small.memories(), takes="bytes", shape=small.SHAPE, preprocess=lambda b: 1 - b.flatten(1)
    )
    assert network.describe()["takes"] == "bytes"


def test_what_a_preprocessing_rounds_otherwise_does_not_depend_on_the_batch(visible):
    """Half blocks of it differ from whole ones: then only whole ones are shown."""
    member = member_of(small.memories(), preprocess=lambda v: -v if len(v) % 16 else v)
    wanted = labels(visible)
    assert torch.equal(member.labels(visible), wanted)
    alone = torch.cat([member.labels(visible[b : b + 1]) for b in range(5)])
    assert torch.equal(alone, wanted[:5])


def test_a_preprocessing_that_loses_images_is_refused(visible):
    member = member_of(small.memories(), preprocess=lambda v: v[1:])
    with pytest.raises(AnswerError, match="the classifier returned"):
        member.labels(visible)


@pytest.mark.parametrize("takes", ["flat", "images", "bytes"])
def test_networks_take_what_they_were_made_for(takes):
    with pytest.raises(InputError, match=f"takes = '{takes}'.*'visible'"):
        member_of(small.memories(), takes=takes, shape=small.SHAPE)


@pytest.mark.parametrize(
    "answer",
    [
        torch.zeros(3), torch.zeros(2, dtype=torch.int64), torch.tensor([0, -1, 1]), "abc", None,
        torch.full((3, 2), torch.nan), torch.zeros(3, 2, 2), torch.zeros(3, dtype=torch.bool),
        torch.zeros(3, 0), {"labels": [1, 2, 3]}, torch.full((3, 1), 0.9), torch.zeros(3, 2).long(),
        [2**70] * 3, torch.zeros(3, 1, 1, dtype=torch.int64), torch.tensor([[0], [-1], [1]]),
    ],
)  # fmt: skip
def test_other_answers_are_refused(answer):
    with pytest.raises(AnswerError, match="the classifier returned"):
        member_of(lambda images: answer, takes="flat").labels(torch.zeros(3, small.N))


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.uint64])
def test_a_column_of_labels_is_labels(dtype):
    """As NumpyCodec of MLServer sends them."""
    column = np.array([[2], [0], [1]], dtype)
    member = member_of(lambda images: column, takes="flat")
    found = member.labels(torch.zeros(3, small.N))
    assert (found.tolist(), found.dtype) == ([2, 0, 1], torch.int64)


# ---- ONNX files --------------------------------------------------------------------------------


@pytest.mark.parametrize("takes", ["images", "visible"])
def test_an_onnx_file(tmp_path, visible, takes):
    path = tmp_path / "classifier.onnx"
    export_onnx(small.memories(), path, takes=takes, shape=small.SHAPE)
    member = member_of(path, shape=small.SHAPE)
    assert member.takes == takes
    assert torch.equal(member.labels(visible), labels(visible))
    assert member.describe()["file"] == str(path)
    assert len(member.describe()["sha256"]) == 64


def test_an_onnx_file_for_one_image_at_a_time(tmp_path, visible):
    import onnx

    path = tmp_path / "classifier.onnx"
    export_onnx(small.memories(), path, takes="visible")
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 3
    del model.graph.output[1]  # scores alone
    onnx.save(model, path)
    assert torch.equal(member_of(path).labels(visible), labels(visible))


def test_an_onnx_file_for_which_places_differ(tmp_path, visible):
    """On every place but the first one the graph says something else."""
    import onnx

    path = tmp_path / "classifier.onnx"
    export_onnx(small.memories(), path, takes="visible")
    model = onnx.load(path)
    logits = next(node for node in model.graph.node if node.output[0] == "logits")
    logits.output[0] = "before"
    shift = np.zeros((4, small.C), np.float32)
    shift[1:, 0] = 100
    model.graph.initializer.append(onnx.numpy_helper.from_array(shift, "shift"))
    model.graph.node.append(onnx.helper.make_node("Add", ["before", "shift"], ["logits"]))
    del model.graph.output[1]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, path)
    member = member_of(path)
    assert torch.equal(member.labels(visible), labels(visible))
    assert torch.equal(member.labels(visible[5:6]), labels(visible[5:6]))


def test_onnx_files_that_are_none(tmp_path, monkeypatch):
    with pytest.raises(DataUnavailableError, match="no such ONNX file"):
        member_of(tmp_path / "none.onnx", shape=small.SHAPE)
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"this is no graph")
    with pytest.raises(FileFormatError, match="not a whole ONNX file"):
        member_of(bad, shape=small.SHAPE)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingPackageError, match=r"denseam\[guard\]"):
        member_of(bad, shape=small.SHAPE)


def test_graphs_of_other_inputs_are_refused(tmp_path):
    import onnx

    path = tmp_path / "classifier.onnx"
    export_onnx(small.memories(), path, takes="visible")
    model = onnx.load(path)
    extra = onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1])
    model.graph.input.append(extra)
    onnx.save(model, path)
    with pytest.raises(InputError, match="one input"):
        member_of(path, shape=small.SHAPE)


def test_images_are_arranged_as_the_input_wants_them():
    def arranged(dims, images):
        return Input("x", dims, np.dtype(np.float32)).arranged(images).shape

    images = np.zeros((2, 1, 5, 4))
    assert arranged((None, 1, 5, 4), images) == (2, 1, 5, 4)
    assert arranged((None, 5, 4, 1), images) == (2, 5, 4, 1)
    assert arranged((-1, 5, 4), images) == (2, 5, 4)
    assert arranged((-1, 20), images) == (2, 20)
    assert arranged((-1, -1), images) == (2, 20)
    assert arranged((-1, -1, -1, -1), images) == (2, 1, 5, 4)
    for dims in ((None, 3, 5, 4), (None, 21), (None, -1, -1, 3)):
        with pytest.raises(InputError, match="does not fit"):
            arranged(dims, images)


# ---- endpoints ---------------------------------------------------------------------------------


class Model(BaseHTTPRequestHandler):
    """What a server of the Open Inference Protocol does, and what one may do wrong."""

    given: ClassVar[dict]
    break_it: ClassVar[str | None]
    outputs: ClassVar[Callable[[list[int]], list[dict]] | None]  # instead of the usual ones
    asked: ClassVar[list[dict]]
    waiting: ClassVar[threading.Event]

    key: ClassVar[str | None] = None  # what "Authorization" has to be

    def do_GET(self):
        if self.path == "/v2/models/moved":
            self.send_response(302)
            self.send_header("Location", "/v2/models/m")
            self.end_headers()
        elif self.key not in (None, self.headers["Authorization"]):
            self.say(401, {"error": "no key"})
        elif self.path == "/v2/models/m":
            self.say(200, {"name": "m", "inputs": [type(self).given], "outputs": []})
        else:
            self.say(404, {"error": "no such model"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.key in (None, self.headers["Authorization"])
        type(self).asked.append(body)
        kind = type(self).break_it
        (given,) = body["inputs"]
        assert self.path == "/v2/models/m/infer"
        images = torch.tensor(given["data"]).reshape(given["shape"])
        found = Scores()(images).argmax(dim=1).tolist()
        outputs = [
            {"name": "scores", "datatype": "FP32", "shape": [1], "data": [0.5]},
            {"name": "label", "datatype": "INT64", "shape": [len(found)], "data": found},
        ]
        if type(self).outputs is not None:
            outputs = type(self).outputs(found)
        if kind == "shape":
            outputs[1]["shape"] = [len(found) + 1]
        if kind == "status":
            self.say(503, {"error": "too busy"})
        elif kind == "slow":
            self.wfile.write(b"HTTP/1.0 503 Busy\r\nContent-Length: 900\r\n\r\ntoo")
            type(self).waiting.wait(5)
        elif kind == "no http":
            self.wfile.write(b"220 mail.example.org ESMTP\r\n")
        elif kind == "deep":
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + b"[" * 200_000)
        elif kind == "text":
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nnot json")
        else:
            self.say(200, {"model_name": "m", "outputs": [] if kind == "nothing" else outputs})

    def say(self, status, value):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


@pytest.fixture
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    Model.asked, Model.break_it, Model.outputs = [], None, None
    Model.waiting = threading.Event()
    Model.given = {"name": "images", "datatype": "FP32", "shape": [-1, 1, 5, 4]}
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v2/models/m"
    Model.waiting.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_endpoint(url, visible):
    member = member_of(f"{url}/infer", shape=small.SHAPE)
    assert torch.equal(member.labels(visible), labels(visible))
    (asked,) = Model.asked
    assert asked["inputs"][0]["shape"] == [70, 1, 5, 4]
    assert asked["inputs"][0]["datatype"] == "FP32"
    assert member.describe() == {"kind": "endpoint", "takes": "images", "url": url}


def test_an_endpoint_that_wants_a_key_gets_that_of_the_environment(url, visible, monkeypatch):
    monkeypatch.setattr(Model, "key", "Bearer secret")
    with pytest.raises(EndpointError, match="answered 401"):
        member_of(url, shape=small.SHAPE)
    monkeypatch.setenv("DENSEAM_ENDPOINT_KEY", "secret\n")
    member = member_of(url, shape=small.SHAPE)
    assert torch.equal(member.labels(visible), labels(visible))
    assert "secret" not in str(member.describe())
    with pytest.raises(EndpointError, match="answered 401"):  # the key is not for another place
        member_of(url[:-1] + "moved", shape=small.SHAPE)
    monkeypatch.setenv("DENSEAM_ENDPOINT_KEY", "sec\nret")
    with pytest.raises(EndpointError, match="DENSEAM_ENDPOINT_KEY holds") as refused:
        member_of(url, shape=small.SHAPE)
    assert "sec" not in str(refused.value)


def test_many_images_are_sent_in_parts(url, visible):
    member = member_of(url, shape=small.SHAPE)
    many = visible.repeat(8, 1)
    assert torch.equal(member.labels(many), labels(many))
    assert [a["inputs"][0]["shape"][0] for a in Model.asked] == [256, 256, 48]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("status", "503: .*too busy"), ("text", "not JSON"), ("shape", "outputs"),
        ("nothing", "nothing"), ("slow", "503"), ("no http", "does not answer"),
        ("deep", "not JSON"),
    ],
)  # fmt: skip
def test_endpoints_that_answer_wrongly(url, visible, kind, message):
    member = Endpoint(url, shape=small.SHAPE, timeout=0.5)
    Model.break_it = kind
    with pytest.raises((EndpointError, AnswerError), match=message):
        member.labels(visible)


@pytest.mark.parametrize(
    ("datatype", "width", "value"),
    [
        ("INT64", 1, lambda label: [label]), ("INT32", 1, lambda label: [label]),
        ("UINT8", 1, lambda label: [label]),
        ("FP32", 3, lambda label: [int(label == c) for c in range(3)]),
        ("FP64", 3, lambda label: [label == c for c in range(3)]),
        ("FP16", 3, lambda label: [0.5 * (label == c) for c in range(3)]),
    ],
)  # fmt: skip
def test_answers_of_an_endpoint_have_its_datatype(url, visible, datatype, width, value):
    """Scores written as whole numbers are scores, and a column of labels is labels."""

    def outputs(found):
        data = [number for label in found for number in value(label)]
        other = {"name": "names", "datatype": "BYTES", "shape": [1], "data": ["x"]}
        first = {"name": "predict", "datatype": datatype, "shape": [len(found), width]}
        return [{**first, "data": data}, other]

    member = member_of(url, shape=small.SHAPE)
    Model.outputs = outputs
    assert torch.equal(member.labels(visible), labels(visible))


@pytest.mark.parametrize(
    "changes",
    [
        {"datatype": "FP32", "shape": [70, 1]}, {"datatype": "BYTES", "data": ["a"] * 70},
        {"datatype": "INT64", "data": [0.5] * 70}, {"datatype": "UINT8", "data": [-1] * 70},
        {"datatype": "INT32", "data": [2**40] * 70}, {"data": [None] * 70}, {"data": ["1"] * 70},
        {"datatype": "FP32"}, {"datatype": "BOOL", "data": [True] * 70}, {"data": [2**70] * 70},
        {"data": [float("nan")] * 70}, {"datatype": "FP16", "data": [1e300, 0.5] * 35},
        {"shape": "70"}, {"data": {"a": 1}}, {"data": [[1]] * 69 + [[1, 2]]},
    ],
)  # fmt: skip
def test_answers_of_an_endpoint_that_are_no_labels_are_refused(url, visible, changes):
    member = member_of(url, shape=small.SHAPE)
    usual = {"name": "label", "datatype": "INT64", "shape": [70], "data": [0] * 70}
    Model.outputs = lambda found: [{**usual, **changes}]
    with pytest.raises((AnswerError, EndpointError)):
        member.labels(visible)


def test_an_endpoint_of_a_fixed_batch_is_sent_whole_ones(url, visible):
    Model.given = {"name": "images", "datatype": "FP32", "shape": [8, 1, 5, 4]}
    member = member_of(url, shape=small.SHAPE)
    assert torch.equal(member.labels(visible), labels(visible))
    assert torch.equal(member.labels(visible[:3]), labels(visible[:3]))
    assert [a["inputs"][0]["shape"] for a in Model.asked] == [[8, 1, 5, 4]] * 10


def test_endpoints_that_are_none(url):
    for bad in ("/v2/models/my model", "/v2/models/\u00e4"):
        with pytest.raises(EndpointError, match="does not answer"):
            member_of(url.removesuffix("/v2/models/m") + bad, shape=small.SHAPE)
    with pytest.raises(EndpointError, match="404"):
        member_of(url + "x", shape=small.SHAPE)
    Model.given = {"name": "images", "datatype": "BYTES", "shape": [-1]}
    with pytest.raises(EndpointError, match="wanted a model of one input"):
        member_of(url, shape=small.SHAPE)
    with pytest.raises(EndpointError, match="does not answer"):
        member_of("http://127.0.0.1:9/v2/models/m", shape=small.SHAPE)


# ---- members that answer by chance ---------------------------------------------------------------


class Chance(torch.nn.Module):
    """(B, 1, H, W) in [0, 1] to scores (B, C) with noise."""

    def forward(self, images):
        return torch.randn(len(images), small.C)


def test_members_that_answer_by_chance_are_warned_of():
    def quiet(visible):
        return visible[:, 0]

    chance = Guard(quiet, Chance(), image_shape=small.SHAPE)
    with pytest.warns(DenseAMWarning, match=r"the classifier labels \d+ of 64 images otherwise"):
        chance.calibrate(small.clean(), 0.05)
    noisy = Guard(lambda v: torch.rand(len(v)), Scores(), image_shape=small.SHAPE)
    with pytest.warns(DenseAMWarning, match="the detector scores 64 of 64 images otherwise"):
        noisy.calibrate(small.clean(), 0.05)


def test_modules_may_return_an_output_with_logits(visible):
    class Output(torch.nn.Module):
        def forward(self, images):
            return {"loss": None, "logits": Scores()(images)}

    assert torch.equal(member_of(Output(), shape=small.SHAPE).labels(visible), labels(visible))

"""explain, export: what they print and write."""

import json
import re

import pytest
import torch

import denseam
from denseam import DenseAM


@pytest.fixture
def model(tmp_path):
    """A file of a model for the small images of 5 x 5 pixels and 3 classes."""
    path = tmp_path / "model.safetensors"
    DenseAM(25, 3, 12, 3, 5.0, seed=1).save(path)
    return path


@pytest.fixture
def baseline(tmp_path):
    path = tmp_path / "relu.safetensors"
    denseam.baselines.ReLUNetwork(25, 3, 12).save(path)
    return path


@pytest.mark.parametrize("command", ["explain", "export"])
def test_help_has_examples_that_parse(run, command):
    from denseam.cli import parser

    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    for option in ("--json", "--seed", "--device", "--out"):
        assert option in out
    examples = out[out.index("examples:") :].splitlines()[1:]
    assert len(examples) >= 3
    for line in examples:
        assert parser().parse_args(line.split()[1:]).command == command


def test_explain_prints_what_the_model_says(run, model, toy):
    code, out, err = run("explain", model, "--dataset", toy, "--index", 2, "--count", 4)
    assert (code, err) == (0, "")
    test = denseam.data.load(str(toy)).test
    found = denseam.load(model).explain(test.visible()[2], 4)
    first, *rest = out.splitlines()
    label, other = found.predicted.label, found.other.label
    assert first == f"{test.name} 2: right {int(test.labels[2])}, predicted {label}"
    assert re.search(rf"^{label} \(predicted\): \d+ memor(y|ies) carr", out, re.MULTILINE)
    assert re.search(rf"^{other}: \d+ memor(y|ies) carr", out, re.MULTILINE)
    rows = [line.split() for line in rest if re.match(r"\W +\d+ ", line)]
    wanted = [*found.predicted.positions.tolist(), *found.other.positions.tolist()]
    assert [int(row[1]) for row in rows] == wanted
    assert rows[0][3] == f"{100 * float(found.predicted.shares[0]):.2f}"


def test_explain_json_is_the_explanation(run, model, toy):
    code, out, err = run(
        "explain", model, "--dataset", toy, "--part", "train", "--index", 1, "--label", 2,
        "--by", "contribution", "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    train = denseam.data.load(str(toy)).train
    found = denseam.load(model).explain(train.visible()[1], label=2, by="contribution")
    assert json.loads(out) == json.loads(
        json.dumps(
            {
                "model": str(model), "dataset": train.name, "part": "train", "index": 1,
                "right": int(train.labels[1]), **found.to_json(),
            }
        )
    )  # fmt: skip


def test_explain_draws(run, model, toy, tmp_path):
    code, out, err = run("explain", model, "--dataset", toy, "--out", tmp_path / "why.png")
    assert (code, err) == (0, "")
    assert out.splitlines()[-2] == f"figure in {tmp_path / 'why.png'}"
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")


def test_explain_takes_names_of_classes(run, model, tmp_path):
    images = denseam.data.ImageSet.from_arrays(
        torch.zeros(2, 5, 5), torch.tensor([0, 1]), class_names=("cat", "dog")
    )
    images.save(tmp_path / "named.safetensors")
    for given in ("dog", "1"):
        code, out, _ = run(
            "explain", model, "--dataset", tmp_path / "named.safetensors", "--label", given,
            "--json",
        )  # fmt: skip
        assert code == 0
        told = json.loads(out)
        assert 1 in {told["predicted"]["label"], told["other"]["label"]}
    code, out, err = run(
        "explain", model, "--dataset", tmp_path / "named.safetensors", "--label", "cow"
    )
    assert (code, out) == (2, "")
    assert err == "denseam explain: --label cow: wanted one of cat, dog, 2\n"


def test_explain_says_where_no_memory_is_active(run, tmp_path, toy):
    silent = DenseAM(25, 3, 4, 3, 5.0)
    with torch.no_grad():
        silent.memories.zero_()
        silent.memories[:, 25:] = 1.0
    silent.save(tmp_path / "silent.safetensors")
    code, out, err = run("explain", tmp_path / "silent.safetensors", "--dataset", toy)
    assert (code, err) == (0, "")
    assert out.splitlines()[-2].endswith("predicted nothing, no memory is active")


def test_export_writes_a_file_that_runs(run, model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    out = tmp_path / "m.onnx"
    code, said, err = run("export", model, "--out", out, "--head", "tanh", "--takes", "visible")
    assert (code, err) == (0, "")
    size = f"{out.stat().st_size / 1e6:.1f} MB"
    assert said.startswith(f"model in {out}, {size}: visible -> logits, label\nnext: denseam ")
    visible = torch.rand(3, 25) * 2 - 1
    session = onnxruntime.InferenceSession(out)
    logits, _ = session.run(None, {"visible": visible.numpy()})
    with torch.no_grad():
        wanted = denseam.load(model)(visible)
    torch.testing.assert_close(torch.from_numpy(logits), wanted, rtol=1e-5, atol=1e-6)


def test_export_json(run, model, tmp_path):
    pytest.importorskip("onnx")
    out = tmp_path / "m.onnx"
    code, said, err = run("export", model, "--out", out, "--shape", 1, 25, "--json")
    assert (code, err) == (0, "")
    assert json.loads(said) == {
        "model": str(model), "out": str(out), "head": "log_energy", "takes": "images",
        "bytes": out.stat().st_size,
    }  # fmt: skip


BAD = {
    "no such image": (("explain", "MODEL", "--index", 30), "--index 30: toy.npz test has 0 .. 29"),
    "before the first": (("explain", "MODEL", "--index", -1), "--index -1"),
    "no memories": (("explain", "MODEL", "--count", 0), "count = 0: wanted a whole number >= 1"),
    "no picture": (("explain", "MODEL", "--out", "a.txt"), "wanted a .png or .svg or .pdf file"),
    "no energy": (("explain", "BASELINE"), "only a DenseAM has memories that vote, not 'relu'"),
    "no onnx file": (("export", "MODEL", "--out", "a.txt"), "a.txt: wanted a .onnx file"),
    "no folder": (("export", "MODEL", "--out", "no/a.onnx"), "could not be written"),
    "no shape": (
        ("export", "MODEL", "--out", "a.onnx", "--shape", 2, 3),
        "shape (2, 3) does not fit 25 pixels",
    ),
    "shape of visible": (
        ("export", "MODEL", "--out", "a.onnx", "--takes", "visible", "--shape", 5, 5),
        "--shape is for --takes images",
    ),
    "no model": (("export", "none", "--out", "a.onnx"), "no model 'none'"),
    "no order": (("explain", "MODEL", "--by", "size"), "--by"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(run, model, baseline, toy, case, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.chdir(model.parent)
    argv, message = BAD[case]
    given = {"MODEL": model, "BASELINE": baseline}
    more = ("--dataset", toy) if argv[0] == "explain" else ()
    code, out, err = run(*(given.get(each, each) for each in argv), *more)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith(f"denseam {argv[0]}")
    assert message in err

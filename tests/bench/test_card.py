"""`denseam bench` on a card that is made up, and benchmarks/card.py on Triton's interpreter."""

import json
from dataclasses import asdict

import pytest
import torch

pytest.importorskip("triton")

import card

from denseam import cli
from denseam.bench import report, timing
from denseam.errors import DenseAMError
from denseam.kernels import by_name
from denseam.kernels.choice import Choice
from denseam.training import graph

CASE = report.Case(3, K=20, C=3, B=30)
FORMS = ("triton", "tf32", "bfloat16", "reference", "autograd", "compiled")


@pytest.fixture
def fake(monkeypatch):
    """A card, as far as the command sees, and rows that were not measured."""
    bench = cli.bench
    monkeypatch.setattr(bench, "check_device", torch.device)
    monkeypatch.setattr(bench, "choose", lambda _: Choice(by_name("triton"), "a test"))
    facts = {"card": "Test Card 9000 (SXM)", "torch": "2", "processor": "p", "threads": 2}
    monkeypatch.setattr(bench, "environment", lambda _: facts)
    milliseconds = {"products": 0.2, **dict.fromkeys(FORMS, 0.5)}
    step = {"case": asdict(CASE), "milliseconds": milliseconds, "peak_floats": 1.0,
            "to_products": 2.5}  # fmt: skip
    monkeypatch.setattr(bench, "measure_step", lambda *_: step)
    one = {"faithful": 1.0}
    crossing = {"power": 30, "n_images": 12, "seconds": one, "gradients": one, "crossed": one,
                "images_per_second": one}  # fmt: skip
    monkeypatch.setattr(bench, "measure_crossing", lambda *_: crossing)
    monkeypatch.setattr(bench, "load_any", lambda *_, **__: None)
    plain, there = torch.Tensor.to, torch.device("cuda")

    def stay(self, where, *more):
        return self if where == there else plain(self, where, *more)

    monkeypatch.setattr(torch.Tensor, "to", stay)
    trainings = []

    def training(dataset, epochs, products, device):
        trainings.append((epochs, products, device.type))
        return {"power": 30, "epochs": epochs, "products": products, "seconds": 60.0,
                "train_error": 0.0, "test_error": 0.0145}  # fmt: skip

    monkeypatch.setattr(bench, "measure_training", training)
    return trainings


def test_tables_the_record_and_the_file_under_the_name_of_the_card(fake, capsys, tmp_path):
    argv = ["bench", "--device", "cuda", "--train", "--epochs", "7", "--save", str(tmp_path)]
    assert cli.main([*argv, "--products", "tf32"]) == 0
    *table, last = capsys.readouterr().out.splitlines()
    record = json.loads(last)
    assert fake == [(7, "tf32", "cuda")]
    assert record["trainings"][0]["seconds"] == 60
    assert record["steps"][0]["to_products"] == 2.5
    assert record["inference"] == record["iterations"] == []
    text = "\n".join(table)
    for word in ("Test Card 9000", "how much triton is faster", "bf16", "test error 1.45 %",
                 "12 images to the boundary"):  # fmt: skip
        assert word in text
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith("test-card-9000-sxm-2")
    assert json.loads(kept.read_text()) == record


def test_an_interrupted_benchmark_keeps_its_rows(fake, monkeypatch, tmp_path):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.bench, "measure_crossing", stopped)
    argv = ["bench", "--device", "cuda", "--save", str(tmp_path)]
    assert cli.main(argv) == 130
    (kept,) = tmp_path.iterdir()
    record = json.loads(kept.read_text())
    assert len(record["steps"]) > 1
    assert record["crossings"] == []


def test_without_train_nothing_is_trained(fake, capsys):
    assert cli.main(["bench", "--device", "cuda", "--json"]) == 0
    assert "trainings" not in json.loads(capsys.readouterr().out)
    assert fake == []


def test_where_the_kernels_do_not_run_one_line_says_why(fake, monkeypatch, capsys):
    reason = Choice(by_name("reference"), "Triton is not installed")
    monkeypatch.setattr(cli.bench, "choose", lambda _: reason)
    assert cli.main(["bench", "--device", "cuda"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "denseam has no kernels there: Triton is not installed" in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_one_line_says_so(capsys):
    assert cli.main(["bench", "--device", "cuda"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert "cuda" in err


def test_a_card_runs_its_own_forms(monkeypatch):
    """With the interpreter in place of a card, each form moves memories as the reference does."""
    forms = report.forms_on(torch.device("cuda"))
    assert tuple(forms) == FORMS
    del forms["compiled"]  # takes long
    monkeypatch.setattr(report, "forms_on", lambda _: forms)
    monkeypatch.setattr(report, "N_VISIBLE", 16)
    monkeypatch.setattr(timing, "_REST", 0.0)
    row = report.measure_step(CASE, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    assert list(row["milliseconds"]) == ["products", *forms]
    assert row["to_products"] == row["milliseconds"]["triton"] / row["milliseconds"]["products"]


# ---- benchmarks/card.py --------------------------------------------------------------------------


@pytest.fixture
def slow_card(monkeypatch):
    """The interpreter in place of a card, clocks that stand still."""
    if not torch.cuda.is_available():
        monkeypatch.setattr(graph, "recorded", lambda step: step)

        def once(steps, *_):
            return {name: bool(step()) + 1.0 for name, step in steps.items()}

        monkeypatch.setattr(card, "card_milliseconds", once)
    monkeypatch.setattr(card, "OTHERS", ("reference", "autograd"))
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def test_every_form_of_a_step_is_compared_before_it_is_timed(slow_card, monkeypatch):
    row = card.measure_card_step(CASE, 1, slow_card)
    assert set(row.milliseconds) == {"full", "tf32", "bfloat16", "reference", "autograd"}
    assert set(row.products) == {"full", "tf32", "bfloat16"}
    assert row.to_json()["to_products"]["full"]["tf32"] == row.milliseconds["full"]
    assert "| 3 | 20 | 3 | 1000 |" in card.steps_table([row])
    plain = card.resident_step

    def twice(problem, products, *, store=False):
        step = plain(problem, products, store=store)
        return lambda: (step(), step())

    monkeypatch.setattr(card, "resident_step", twice)
    with pytest.raises(DenseAMError, match="the step of 'full' moves memories by something else"):
        card.measure_card_step(CASE, 1, slow_card)


def test_precision_is_put_back():
    before = torch.get_float32_matmul_precision()
    with card.precision("high"):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before

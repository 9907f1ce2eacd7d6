"""The benchmark of a card: with Triton's interpreter, and on a card where there is one."""

import json

import pytest
import torch

pytest.importorskip("triton")

from denseam import cli
from denseam.bench import CrossingRow, card, report
from denseam.cli import bench_card
from denseam.errors import DenseAMError
from denseam.kernels import by_name
from denseam.kernels.choice import Choice
from denseam.training import graph

CASE = report.Case(3, K=20, C=3, B=30)
WORDS = {"card": "Test Card 9000 (SXM)", "torch": "2", "triton": "3"}
FORMS = dict.fromkeys((*card.PRODUCTS, *card.OTHERS), 0.5)
PRODUCTS = dict.fromkeys(card.PRODUCTS, 0.25)


@pytest.fixture
def fake(monkeypatch):
    """A card, as far as the command sees, and rows that nobody has measured."""
    monkeypatch.setattr(cli.bench, "check_device", torch.device)
    monkeypatch.setattr(bench_card, "choose", lambda _: Choice(by_name("triton"), "a test"))
    monkeypatch.setattr(bench_card, "card_environment", lambda _: WORDS)
    row = card.CardRow(CASE, FORMS, 0.75, PRODUCTS)
    monkeypatch.setattr(bench_card, "measure_card_step", lambda *_: row)
    crossing = CrossingRow(30, 12, {"faithful": 1.0}, {"faithful": 9.0}, {"faithful": 1.0})
    monkeypatch.setattr(bench_card, "measure_crossing", lambda *_: crossing)
    monkeypatch.setattr(bench_card, "load_any", lambda *_, **__: None)
    plain, there = torch.Tensor.to, torch.device("cuda")

    def stay(self, where, *more):
        return self if where == there else plain(self, where, *more)

    monkeypatch.setattr(torch.Tensor, "to", stay)
    asked = []

    def training(dataset, epochs, products, device):
        asked.append((epochs, products, device.type))
        return card.TrainingRow(30, epochs, products, 60.0, 0.0, 0.0145)

    monkeypatch.setattr(bench_card, "measure_training", training)
    return asked


def test_tables_the_record_and_the_file_under_the_name_of_the_card(fake, capsys, tmp_path):
    argv = ["bench", "--device", "cuda", "--train", "--epochs", "7", "--save", str(tmp_path)]
    assert cli.main([*argv, "--products", "tf32"]) == 0
    *table, last = capsys.readouterr().out.splitlines()
    record = json.loads(last)
    assert set(record) == {"environment", "steps", "crossings", "trainings"}
    assert fake == [(7, "tf32", "cuda")]
    assert record["trainings"][0]["seconds"] == 60
    row = record["steps"][0]
    assert row["to_products"]["full"] == {"full": 2.0, "tf32": 2.0, "bfloat16": 2.0}
    assert row["speedup"]["compiled"] == 1
    text = "\n".join(table)
    for word in ("Test Card 9000", "one training step", "test error 1.45 %", "boundary"):
        assert word in text
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith("test-card-9000-sxm-2")
    assert json.loads(kept.read_text()) == record


def test_what_was_measured_before_a_stop_is_kept(fake, monkeypatch, tmp_path):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_card, "measure_crossing", stopped)
    argv = ["bench", "--device", "cuda", "--save", str(tmp_path)]
    assert cli.main(argv) == 130
    (kept,) = tmp_path.iterdir()
    record = json.loads(kept.read_text())
    assert len(record["steps"]) > 1
    assert record["crossings"] == []


def test_without_train_nothing_is_trained_or_kept(fake, capsys):
    assert cli.main(["bench", "--device", "cuda", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trainings"] == []
    assert fake == []


def test_where_the_kernels_do_not_run_one_line_says_why(fake, monkeypatch, capsys):
    reason = Choice(by_name("reference"), "Triton is not installed")
    monkeypatch.setattr(bench_card, "choose", lambda _: reason)
    assert cli.main(["bench", "--device", "cuda"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "nothing of ours to measure: Triton is not installed" in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_one_line_says_so(capsys):
    assert cli.main(["bench", "--device", "cuda"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert "cuda" in err


@pytest.mark.parametrize("option", [["--train"], ["--save", "here"]])
def test_what_is_for_cards_is_refused_on_the_cpu(option, capsys):
    assert cli.main(["bench", *option]) == 2
    assert "only with --device cuda" in capsys.readouterr().err


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

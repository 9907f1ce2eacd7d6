"""docs/guard.md: its code runs, and its tables are those of the results beside it."""

import re

import guard_tables as benchmark
import pytest
from tests.pages import run_code, table_of


def test_the_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_code(benchmark.PAGE.path)
    assert names["guard"].calibrated
    assert 20 < names["verdicts"].n_rejected < 90


@pytest.mark.parametrize("name", benchmark.TABLES)
def test_tables_are_those_of_the_results(name):
    made = benchmark.TABLES[name](benchmark.PAGE.results())
    assert table_of(benchmark.PAGE.path, name) == made


def test_every_piece_has_its_result():
    missing = [name for name in benchmark.pieces() if name not in benchmark.PAGE.results()]
    assert not missing


def test_what_was_promised_of_the_shipped_models():
    found = benchmark.PAGE.results()["guard/mnist-relu"]
    assert found["clean"]["low"] < benchmark.RATE + 0.003
    rejected = {row["name"]: row["rejected"] for row in found["trials"]}
    for name, share in rejected.items():
        if re.match(r"normal|uniform|smooth|specks|blank|rubbish of mnist-n[23]$", name):
            assert share >= 0.99, name
    assert rejected["Fashion-MNIST"] >= 0.95
    boundary = next(row for row in found["trials"] if row["name"] == "boundary of mnist-n2")
    assert boundary["rejected"] + boundary["right"] >= 0.95

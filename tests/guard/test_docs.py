"""docs/guard.md: its code runs, and its tables are those of the results beside it."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guard.md").read_text()


def _benchmark():
    file = ROOT / "benchmarks/guard_tables.py"
    spec = importlib.util.spec_from_file_location("guard_tables", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


benchmark = _benchmark()


@pytest.mark.slow
def test_the_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/guard.md", "exec"), names)
    assert names["guard"].calibrated
    assert 20 < names["verdicts"].n_rejected < 90


@pytest.mark.parametrize("name", benchmark.TABLES)
def test_tables_are_those_of_the_results(name):
    inside = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", PAGE, re.DOTALL)
    assert inside, name
    assert inside[1] == benchmark.TABLES[name](benchmark.results())


def test_every_piece_has_its_result():
    missing = [name for name in benchmark.pieces() if name not in benchmark.results()]
    assert not missing


def test_what_was_promised_of_the_shipped_models():
    found = benchmark.results()["guard/mnist-relu"]
    assert found["clean"]["low"] < benchmark.RATE + 0.003
    rejected = {row["name"]: row["rejected"] for row in found["trials"]}
    for name, share in rejected.items():
        if re.match(r"normal|uniform|smooth|specks|blank|rubbish of mnist-n[23]$", name):
            assert share >= 0.99, name
    boundary = next(row for row in found["trials"] if row["name"] == "boundary of mnist-n2")
    assert boundary["rejected"] + boundary["right"] >= 0.95

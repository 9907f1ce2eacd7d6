"""docs/robustness.md: its code runs, and its tables are those of the results beside it."""

import re

import pytest

from .shared import ROOT, benchmark

PAGE = (ROOT / "docs/robustness.md").read_text()


def test_the_code_runs(capsys):
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/robustness.md", "exec"), names)
    assert names["labelled"].shape == (10,)
    assert names["found"].success.any()
    assert names["success"].shape == (2, 10)


@pytest.mark.parametrize("name", benchmark.TABLES)
def test_tables_are_those_of_the_results(name):
    inside = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", PAGE, re.DOTALL)
    assert inside, name
    assert inside[1] == benchmark.TABLES[name](benchmark.results())


def test_every_piece_has_its_result():
    missing = [name for name in benchmark.pieces() if name not in benchmark.results()]
    assert not missing

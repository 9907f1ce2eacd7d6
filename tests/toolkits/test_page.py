"""docs/robustness.md: its code runs, and its tables are those of the results beside it."""

import pytest
from tests.pages import run_code, table_of

from .shared import benchmark


def test_the_code_runs():
    names = run_code(benchmark.PAGE.path)
    assert names["predicted"].shape == (10,)
    assert names["result"].success.any()
    assert names["success"].shape == (2, 10)


@pytest.mark.parametrize("name", benchmark.TABLES)
def test_tables_are_those_of_the_results(name):
    made = benchmark.TABLES[name](benchmark.PAGE.results())
    assert table_of(benchmark.PAGE.path, name) == made


def test_every_piece_has_its_result():
    missing = [name for name in benchmark.pieces() if name not in benchmark.PAGE.results()]
    assert not missing

"""The list of faults in tests/faults.toml fits the sources, and the tool tells who survives."""

import ast
import re
from pathlib import Path

import plant
import pytest

ROOT = plant.ROOT


def named(fault):
    return fault.name


@pytest.mark.parametrize("fault", plant.faults(), ids=named)
def test_a_fault_can_be_planted_and_its_tests_are_there(fault):
    source = (ROOT / fault.file).read_text()
    planted = fault.planted_in(source)
    assert planted != source
    if fault.file.endswith(".py"):
        ast.parse(planted)
    assert fault.tests
    for test in fault.tests:
        file, name = test.split("::")
        assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE), test


def test_names_are_unique():
    names = [fault.name for fault in plant.faults()]
    assert len(set(names)) == len(names)


@pytest.fixture
def small_repository(tmp_path) -> Path:
    """A function with a test for one of its two lines, and a fault in each."""
    files = {
        "src/sums.py": "def total(a, b):\n    checked = a + 0\n    return checked + b\n",
        "tests/test_sums.py": "import sums\ndef test_total():\n    assert sums.total(2, 2) == 4\n",
        plant.LIST: """
            [[fault]]
            name = "minus"
            file = "src/sums.py"
            text = "checked + b"
            wrong = "checked - b"
            tests = ["tests/test_sums.py::test_total"]
            [[fault]]
            name = "harmless"
            file = "src/sums.py"
            text = "a + 0"
            wrong = "a - 0"
            tests = ["tests/test_sums.py::test_total"]
            """,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_fault_that_no_test_finds_is_reported(small_repository, capsys):
    assert plant.main([], small_repository) == 1
    assert capsys.readouterr().out.splitlines() == [
        "found    minus",
        "SURVIVED harmless tests/test_sums.py::test_total",
        "1 of 2 faults found",
    ]
    assert "checked + b" in (small_repository / "src/sums.py").read_text()  # only copies change


def test_faults_are_chosen_by_words_in_their_names(small_repository, capsys):
    assert plant.main(["min"], small_repository) == 0
    assert capsys.readouterr().out == "found    minus\n1 of 1 faults found\n"
    with pytest.raises(SystemExit, match="is named like plus"):
        plant.main(["plus"], small_repository)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a", "its text occurs 4 times"), ("not there", "its text occurs 0 times")],
)
def test_a_text_must_occur_once(text, message):
    fault = plant.Fault("name", "sums.py", text, "wrong", ())
    with pytest.raises(ValueError, match=message):
        fault.planted_in("a a a a")


def test_tests_that_fail_anyway_find_nothing(small_repository):
    (small_repository / "tests/test_sums.py").write_text("def test_total():\n    assert False\n")
    with pytest.raises(SystemExit, match=r"these tests fail without a fault:\ntests/test_sums\.py"):
        plant.main([], small_repository)

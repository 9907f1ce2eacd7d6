"""The notebooks of docs/ run as they stand and keep their outputs; so does the page beside them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.pages import run_code

DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
RUN = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, timeout=240, coalesce_streams=True).execute()
nbformat.write(notebook, sys.argv[2])
"""


NUMBER = re.compile(r"-?\d+\.?\d*(?:e[-+]\d+)?")


def code_cells(path):
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]


def outputs(path):
    """Return what each cell shows, by kind, without warnings, which depend on the machine."""
    return [
        [
            sorted(o.get("data", {"stream": ""}))
            for o in cell["outputs"]
            if o.get("name") != "stderr"
        ]
        for cell in code_cells(path)
    ]


def shown(path):
    """Return the texts that the cells show without their numbers, and the numbers."""
    shows = [o for c in code_cells(path) for o in c["outputs"] if "text/plain" in o.get("data", {})]
    text = "\n".join("".join(o["data"]["text/plain"]) for o in shows)
    return NUMBER.sub("#", text).split(), [float(number) for number in NUMBER.findall(text)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_its_outputs_and_names_no_machine(path):
    text = path.read_text()
    assert any(outputs(path))
    assert not any(o["output_type"] == "error" for c in code_cells(path) for o in c["outputs"])
    assert not any(word in text for word in ("/tmp/", "/home/", "/work/", "Traceback"))


def test_the_notebooks_are_small():
    assert sum(path.stat().st_size for path in NOTEBOOKS) < 3_000_000


@pytest.mark.slow
@pytest.mark.timeout(280)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_numbers_are_those_of_the_code(path, tmp_path):
    pytest.importorskip("nbclient")
    done = tmp_path / "done.ipynb"
    subprocess.run([sys.executable, "-c", RUN, path, done], check=True, cwd=tmp_path)
    assert outputs(done) == outputs(path)
    (words, numbers), (stored_words, stored_numbers) = shown(done), shown(path)
    assert words == stored_words
    assert numbers == pytest.approx(stored_numbers, rel=0.05, abs=0.05)


@pytest.mark.slow
def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_code(DOCS / "notebooks.md")
    assert {path.name for path in tmp_path.iterdir()} == {"memories.png", "attacked.png"}
    out, err = capsys.readouterr()
    assert out.startswith("DescentResult(")
    assert err == ""

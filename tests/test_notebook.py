"""The notebook of docs/ runs as it stands and keeps its outputs; so does the page beside it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.pages import run_code

DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOK = DOCS / "notebooks" / "tour.ipynb"
RUN = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, timeout=240, coalesce_streams=True).execute()
nbformat.write(notebook, sys.argv[2])
"""


def outputs(path):
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    return [
        [sorted(o.get("data", {"stream": ""})) for o in cell["outputs"]] for cell in cells
    ]  # fmt: skip


def test_the_notebook_keeps_its_outputs_and_names_no_machine():
    text = NOTEBOOK.read_text()
    assert all(outputs(NOTEBOOK))
    assert '"error"' not in text.replace('"train_error"', "").replace('"test_error"', "")
    assert not any(word in text for word in ("/tmp/", "/home/", "/work/", "Traceback"))


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_the_notebook_runs(tmp_path):
    pytest.importorskip("nbclient")
    done = tmp_path / "tour.ipynb"
    subprocess.run([sys.executable, "-c", RUN, NOTEBOOK, done], check=True, cwd=tmp_path)
    assert outputs(done) == outputs(NOTEBOOK)


@pytest.mark.slow
def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_code(DOCS / "notebooks.md")
    assert {path.name for path in tmp_path.iterdir()} == {"memories.png", "attacked.png"}
    out, err = capsys.readouterr()
    assert out.startswith("DescentResult(")
    assert err == ""

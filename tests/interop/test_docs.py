"""docs/interop.md: its examples run one after the other, its table is what is measured."""

import re
from pathlib import Path
from statistics import median
from typing import Any

import pytest

import denseam

PAGE = Path(__file__).parents[2] / "docs" / "interop.md"


def test_the_examples_run(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("huggingface_hub")
    monkeypatch.chdir(tmp_path)
    examples = re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE
    )
    assert len(examples) == 3
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), names)
    assert (names["nine"].label, names["three"].label) == (9, 3)
    assert {p.name for p in tmp_path.iterdir()} == {"explain.png", "n30.onnx", "mnist-n30"}


def test_the_table_is_what_is_measured():
    text = re.search(r"<!-- deciding -->\n(.*?)<!-- /deciding -->", PAGE.read_text(), re.DOTALL)
    assert text
    visible = denseam.data.load("mnist").test.visible()[:100]
    lines = []
    for name in denseam.pretrained_names():
        model = denseam.load_pretrained(name)
        found = [model.explain(image, 1).predicted for image in visible]
        share = 100 * median(float(votes.shares[0]) for votes in found)
        half = median(votes.n_half for votes in found)
        deciding = median(votes.n_deciding for votes in found)
        lines.append(f"| {name} | {share:.1f} % | {half:.0f} memories | {deciding:.0f} |\n")
    assert "".join(text[1].splitlines(keepends=True)[2:]) == "".join(lines)

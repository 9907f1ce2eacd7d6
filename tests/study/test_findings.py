"""What a stage finds, and its way through JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denseam.errors import InputError
from denseam.study.findings import Figure, Findings, Row, Table

words = st.text(max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60)
ends = st.none() | numbers
rows = st.builds(
    Row, words, words, numbers, words, st.sampled_from(["%", "", "visible units", "s"]), ends, ends,
    st.none() | st.integers(0, 2**60),
)  # fmt: skip
figures = st.builds(Figure, words, words, words, words)


@st.composite
def tables(draw):
    columns = draw(st.lists(words, min_size=1, max_size=4))
    cell = words | st.none() | st.builds(lambda text: {"text": text}, words)
    cells = st.lists(cell, min_size=len(columns) - 1, max_size=len(columns) - 1).map(tuple)
    lines = draw(st.lists(st.tuples(words, cells), max_size=3))
    return Table(draw(words), draw(words), draw(words), tuple(columns), tuple(lines))


def some(of):
    return st.lists(of, max_size=3).map(tuple)


findings = st.builds(Findings, some(rows), some(tables()), some(figures), some(words))


@given(findings)
def test_json_and_back(found):
    text = json.dumps(found.to_json(), allow_nan=False)
    again = Findings.from_json(json.loads(text))
    assert again == found
    assert json.dumps(again.to_json()) == text
    assert hash(again.rows) == hash(found.rows)


@given(findings)
def test_files_are_those_of_figures_and_the_others(found):
    assert found.files == tuple(f.file for f in found.figures) + found.other_files


@pytest.mark.parametrize("cells", [(), ("a",), ("a", None, {"text": "c"})])
def test_a_table_has_a_cell_for_every_column_but_the_first(cells):
    with pytest.raises(InputError, match=rf"table t, head: {len(cells)} cells, wanted 2"):
        Table("t", "", "", ("model", "one", "two"), (("head", cells),))


def test_a_table_from_json_is_checked_too():
    fields = Findings(tables=(Table("t", "", "", ("model", "one"), (("head", ("a",)),)),)).to_json()
    fields["tables"][0]["columns"] = ["model"]
    with pytest.raises(InputError, match="1 cells, wanted 0"):
        Findings.from_json(fields)


@pytest.mark.parametrize("part", ["rows", "tables", "figures", "other_files"])
def test_findings_that_lack_a_part_are_refused(part):
    fields = Findings().to_json()
    del fields[part]
    with pytest.raises(KeyError, match=part):
        Findings.from_json(fields)


@pytest.mark.parametrize(
    ("part", "entry"),
    [
        ("rows", {"id": "a"}),
        ("rows", {"id": "a", "what": "", "value": 1, "command": "", "colour": "red"}),
        ("rows", 3),
        ("figures", {"id": "a"}),
        ("figures", None),
    ],
)
def test_findings_with_entries_of_another_kind_are_refused(part, entry):
    with pytest.raises(TypeError):
        Findings.from_json({**Findings().to_json(), part: [entry]})

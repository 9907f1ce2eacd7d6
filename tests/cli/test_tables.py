"""Tables fit the terminal: columns go as a whole, and no word is cut."""

import io

import pytest
from rich.text import Text

from denseam.cli.console import Console
from denseam.cli.tables import FittedTable

HEADS = ("name", "count", "where", "licence")
ROWS = [
    ("mnist", "60000", "/usr/share/datasets/mnist", "CC BY-SA 3.0"),
    ("emnist-letters", "124800", "/root/.cache/denseam/emnist-letters", "none stated"),
]


def printed(what, width, **options):
    file = io.StringIO()
    Console(width=width, file=file, **options).print(what)
    return file.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("width", [25, 40, 60, 80, 120])
def test_columns_are_whole_or_named_below(width, terminal):
    out = printed(
        FittedTable("title", HEADS, ROWS, left=[0, 2, 3], drop=[3, 2, 1]), width,
        force_terminal=terminal, color_system=None,
    )  # fmt: skip
    assert max(map(len, out.splitlines())) <= width or not terminal
    body, _, note = out.partition("left out")
    left_out = " ".join(note.split()).partition(": ")[2].partition(" (a wider")[0].split(", ")
    for i, head in enumerate(HEADS):
        shown = [cell[i] in body for cell in (HEADS, *ROWS)]
        assert all(shown) if head not in left_out else not any(shown[1:])
    assert "…" not in out


def test_lines_go_before_columns_do():
    assert "│" in printed(FittedTable(None, HEADS, ROWS, drop=[3]), 84)
    narrow = printed(FittedTable(None, HEADS, ROWS, drop=[3]), 78)
    assert "│" not in narrow
    assert "licence" in narrow.splitlines()[0]


def test_columns_that_all_matter_go_on_below():
    heads = ["set", *(f"model {k}" for k in range(12))]
    whole = FittedTable(None, heads, [["clean", *(f"{k}.5 %" for k in range(12))]], repeated=1)
    whole.add_section([["junk", *["9"] * 12]])
    out = printed(whole, 60)
    assert max(map(len, out.splitlines())) <= 60
    assert out.count("clean") == out.count("junk") > 1
    assert [line for line in heads[1:] if line not in out] == []


def test_a_key_without_room_is_still_whole():
    name = "x" * 90
    assert name in printed(FittedTable(None, ["file", "n"], [[Text(name), "1"]], drop=[1]), 60)


def test_a_terminal_breaks_lines_at_blanks_and_a_file_not_at_all():
    words = " ".join(["convergence"] * 20)
    assert printed(words, 60) == f"{words}\n"
    lines = printed(words, 60, force_terminal=True, color_system=None).splitlines()
    assert {word for line in lines for word in line.split()} == {"convergence"}
    assert max(map(len, lines)) <= 60

"""docs/results.md: tables that every reader of Markdown draws, with the numbers of the rows."""

import re
from itertools import groupby

import pytest

from denseam.study.report import as_markdown, headline_text
from denseam.study.report.numbers import quantity

from .published import RESULTS
from .sample_results import sample_results


@pytest.fixture
def results():
    return sample_results()


def tables(text):
    """Of every table its lines, each a list of cells."""
    groups = groupby(text.splitlines(), key=lambda line: line.startswith("|"))
    return [[cells(line) for line in lines] for is_table, lines in groups if is_table]


def cells(line):
    assert line.startswith("| ")
    assert line.endswith(" |")
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def folded(text, title):
    """The text that unfolds under a title, or None."""
    _, found, after = text.partition(f'<details markdown="1"><summary>{title}</summary>\n')
    return after.partition("\n</details>")[0] if found else None


def number(results, id_):
    (row,) = (row for row in results["rows"] if row["id"] == id_)
    return str(quantity(row["value"], row["low"], row["high"], row["unit"]))


def test_every_line_of_a_table_has_the_same_number_of_cells(results):
    found = tables(as_markdown(results))
    assert len(found) == len(results["tables"]) + 2
    for table in found:
        assert len({len(line) for line in table}) == 1
        assert len(table) >= 3
        assert set(table[1]) == {"---"}


def test_tables_hold_the_numbers_of_their_rows(results):
    text = as_markdown(results)
    for table in results["tables"]:
        head, _, *lines = tables(text.split(f"**{table['title']}.** {table['caption']}\n")[1])[0]
        assert head == list(table["columns"])
        for line, wanted in zip(lines, table["rows"], strict=True):
            assert line[0] == wanted["head"]
            for cell, entry in zip(line[1:], wanted["cells"], strict=True):
                if isinstance(entry, str):
                    assert cell == number(results, entry)
                else:
                    assert cell == ("" if entry is None else entry["text"])


def test_claims_stand_beside_the_papers_numbers_with_their_own(results):
    lines = next(t for t in tables(as_markdown(results)) if t[0][0] == "where")[2:]
    for line, claim in zip(lines, results["claims"], strict=True):
        assert (line[0], line[2], line[4]) == (claim["where"], claim["paper"], claim["verdict"])
        if len(claim["rows"]) > 2:
            assert line[3] == f"{len(claim['rows'])} numbers, below"
        else:
            assert all(number(results, id_) in line[3] for id_ in claim["rows"])
            assert bool(line[3]) == bool(claim["rows"])


def test_what_differs_and_all_long_claims_unfold(results):
    text = as_markdown(results)
    for claim in results["claims"]:
        told = claim["verdict"] in ("not reproduced", "cannot be compared")
        fold = folded(text, f"{claim['where']}: {claim['claim']}")
        long = told or claim["beside"] or len(claim["rows"]) > 2
        assert (fold is not None) == bool(long)
        if fold is None:
            continue
        assert f"\n{claim['verdict'].capitalize()}. Paper: {claim['paper']}." in fold
        assert claim["note"] is None or claim["note"] in fold
        for ids, how in ((claim["rows"], ""), (claim["beside"], "not judged: ")):
            for id_ in ids:
                what = next(row["what"] for row in results["rows"] if row["id"] == id_)
                assert f"* {how}{what}: {number(results, id_)}\n" in fold


def test_the_headline_stands_at_the_top():
    text = as_markdown(RESULTS)
    assert text.split("\n\n")[1] == " ".join(headline_text(RESULTS))
    assert len(headline_text(RESULTS)) == 3


def test_little_is_there_before_something_is_unfolded():
    shown = re.sub(r"<details.*?</details>", "", as_markdown(RESULTS), flags=re.DOTALL)
    assert len(shown.splitlines()) < 150
    assert len(as_markdown(RESULTS).splitlines()) > 400


def test_without_differences_there_is_no_part_about_them(results):
    for claim in results["claims"]:
        claim["verdict"] = "reproduced"
    text = as_markdown(results)
    assert "Not reproduced" not in text
    assert f"Of {len(results['claims'])} claims: {len(results['claims'])} reproduced." in text


def test_pipes_and_line_breaks_do_not_break_a_table(results):
    results["tables"][0]["rows"][0]["head"] = "a|b\nc"
    results["claims"][0]["claim"] = "one|two"
    results["models"][0]["source"] = "runs/a|b"
    text = as_markdown(results)
    for table in tables(text):
        assert len({len(line) for line in table}) == 1
    for written in (r"| a\|b c |", r"| one\|two |", r"| `runs/a\|b` |"):
        assert written in text


def test_pictures_lie_beside_the_page_with_title_and_caption(results):
    text = as_markdown(results)
    for figure in results["figures"]:
        assert f"![{figure['title']}]({figure['file']})" in text
        assert figure["caption"] in text
    assert text.count("![") == len(results["figures"])


def test_stages_with_something_to_show_have_a_part_with_their_command(results):
    text = as_markdown(results)
    for stage in results["stages"]:
        own = [e for part in ("tables", "figures") for e in results[part]
               if e["stage"] == stage["name"]]  # fmt: skip
        fold = folded(text, f"{stage['title'][0].upper()}{stage['title'][1:]}")
        assert (fold is not None) == bool(own)
        assert fold is None or fold.startswith(f"\n`{stage['command']}`\n")


def test_models_come_with_how_they_were_trained_and_all_seeds(results):
    lines = next(t for t in tables(as_markdown(results)) if t[0][0] == "model"
                 and t[0][1] == "trained by")[2:]  # fmt: skip
    for line, model in zip(lines, results["models"], strict=True):
        assert line[0] == f"`{model['source']}`"
        assert line[1] == (f"`{model['command']}`" if model["command"] else "not known")
        wanted = [
            f"seed {seed['seed']}, {seed['epochs']} epochs: {number(results, seed['error_row'])}"
            for seed in model["seeds"]
        ]
        assert line[2] == "<br>".join(wanted)


def test_a_quick_study_says_so_at_the_top():
    for quick in (True, False):
        results = sample_results(quick=quick)
        head = as_markdown(results).split("\n## ")[0]
        assert ("`denseam reproduce --quick`" in head) == quick
        assert ("**1,000 of the 10,000 test images" in head) == quick
        assert head.startswith(f"# {results['title']}\n")


def test_several_numbers_of_a_claim_are_told_apart_by_what_their_rows_differ_in(results):
    (claim,) = (c for c in results["claims"] if c["id"] == "distance")
    assert claim["rows"] == ["boundary/l2/n2", "boundary/l2/n30"]
    (line,) = (line for line in as_markdown(results).splitlines()
               if line.startswith("| Fig. 4 | Large n moves"))  # fmt: skip
    assert re.search(r"\| n2: [\d.]+.*, n30: [\d.]+", line)

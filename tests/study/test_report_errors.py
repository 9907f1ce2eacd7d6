"""Damaged results: one clear error, whatever is missing."""

import pytest

from denseam.errors import InputError
from denseam.study.report import as_markdown, render

from .sample_results import empty_png, sample_results


def _drop(part, key):
    return lambda results: results[part][0].pop(key)


SPOILED = {
    "a part": (lambda results: results.pop("claims"), "claims"),
    "a fact of the machine": (lambda results: results["environment"].pop("cores"), "cores"),
    "a row's unit": (_drop("rows", "unit"), "unit"),
    "a claim's verdict": (_drop("claims", "verdict"), "verdict"),
    "a claim's row": (lambda results: results["claims"][0]["rows"].append("no/row"), "no/row"),
    "a table's row": (
        lambda results: results["tables"][0]["rows"][0]["cells"].append("no/row"),
        "no/row",
    ),
    "a number": (lambda results: results["rows"][0].update(value=float("nan")), "NaN"),
    "a list": (lambda results: results.update(rows=None), "NoneType"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_no_page_is_made_of_results_that_lack(case):
    spoil, word = SPOILED[case]
    results = sample_results()
    spoil(results)
    pictures = {figure["id"]: empty_png(2, 2) for figure in results["figures"]}
    for write in (as_markdown, lambda results: render(results, pictures)):
        with pytest.raises(InputError, match=f"no page can be made of these results: .*{word}"):
            write(results)


@pytest.mark.parametrize(
    ("png", "message"),
    [
        (None, "no page can be made of these results: KeyError.'sign'"),
        (b"GIF89a", "picture 'sign': 6 bytes that are not a whole PNG file"),
        (empty_png(2, 2)[:-20], "are not a whole PNG file"),
    ],
)
def test_every_figure_needs_its_whole_picture(png, message):
    results = sample_results()
    pictures = {figure["id"]: empty_png(2, 2) for figure in results["figures"]}
    pictures |= {"sign": png}
    if png is None:
        del pictures["sign"]
    with pytest.raises(InputError, match=message):
        render(results, pictures)

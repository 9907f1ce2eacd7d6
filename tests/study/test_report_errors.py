"""Results that no page is made of: one clear error each."""

import pytest

from denseam.errors import InputError
from denseam.study.report import render

from .sample_results import sample_pictures, sample_results


@pytest.fixture(scope="module")
def pictures():
    return sample_pictures()


def _drop(part, key):
    return lambda r, _: r[part][0].pop(key)


def _set(part, key, value):
    return lambda r, _: r[part][0].__setitem__(key, value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r, _: r.pop("claims"), "results lacks claims"),
        (lambda r, _: r["environment"].pop("cores"), "environment lacks cores"),
        (lambda r, _: r["environment"].update(date="yesterday"), "date 'yesterday', wanted ISO"),
        (_drop("rows", "unit"), r"rows\[0\] lacks unit"),
        (_set("claims", "verdict", "perhaps"), "'error-n2': verdict 'perhaps', wanted one of"),
        (_set("claims", "rows", ["no/row"]), "'error-n2' names the row 'no/row'"),
        (_set("rows", "id", "a b"), "id 'a b', wanted a word"),
        (_set("rows", "id", "seeds/n2/0"), "'seeds/n2/0' occurs twice"),
        (_set("rows", "stage", "nowhere"), "of stage 'nowhere', which is not among"),
        (_set("tables", "stage", "nowhere"), "of stage 'nowhere'"),
        (_set("figures", "stage", "nowhere"), "of stage 'nowhere'"),
        (_set("rows", "value", float("nan")), "value is nan, wanted a finite"),
        (_set("rows", "value", True), "value is True, wanted a finite"),
        (_set("rows", "value", "0.5"), "value is '0.5', wanted a finite"),
        (_set("rows", "low", None), "both ends of the interval or neither"),
        (_set("rows", "low", 0.9), "the interval runs from 0.9 down to"),
        (_set("tables", "columns", ["one"]), "'errors': 1 columns, and rows of 2 cells"),
        (lambda r, _: r["tables"][0]["rows"][0]["cells"].__setitem__(0, "no/row"), "'no/row'"),
        (lambda r, _: r["tables"][0]["rows"][0]["cells"].pop(), "rows of 1, 2 cells"),
        (lambda r, _: r["models"][0]["seeds"][0].update(error_row="no/row"), "'n2', seeds names"),
        (lambda _, p: p.pop("sign"), "figure 'sign' has no picture; pictures given: bound"),
        (lambda _, p: p.update(sign=b"GIF89a"), "picture 'sign': 6 bytes that are not"),
        (lambda _, p: p.update(sign=p["sign"][:-20]), "are not a whole PNG file"),
    ],
)
def test_a_page_is_whole_or_not_made(spoil, message, pictures):
    results, given = sample_results(), dict(pictures)
    spoil(results, given)
    with pytest.raises(InputError, match=message):
        render(results, given)

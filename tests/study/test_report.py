"""The report: well-formed, complete, honest about quick runs, and never half made."""

import base64
import copy
import hashlib
import json
import re
from xml.etree import ElementTree as ET

import pytest

from denseam.study.report import headline_text, numbers, render

from . import published
from .published import RESULTS
from .sample_results import sample_pictures, sample_results


@pytest.fixture(scope="module")
def pictures():
    return sample_pictures()


@pytest.fixture(scope="module", params=[False, True], ids=["whole", "quick"])
def page(request, pictures):
    """Results, and their page as a tree: the HTML is XML as well."""
    results = sample_results(quick=request.param)
    return results, ET.fromstring(render(results, pictures))


def text(element):
    return " ".join("".join(element.itertext()).replace("\u00a0", " ").split())


def with_class(root, name):
    return [e for e in root.iter() if name in e.get("class", "").split()]


def written(row):
    return numbers.quantity(row["value"], row["low"], row["high"], row["unit"])


def test_the_page_needs_nothing_but_itself(page):
    _, root = page
    (script,) = root.iter("script")
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    assert not script.attrib
    for element in root.iter():
        assert element.get("src", "data:").startswith("data:")
        href = element.get("href", "#")
        allowed = ("#", "https:") if element.tag == "a" else ("data:", "#")
        assert href.startswith(allowed), href
    style = root.find("head/style").text
    assert not re.search(r"url\(|@import|src:", style)
    policy = next(m for m in root.iter("meta") if m.get("http-equiv"))
    assert policy.get("content").startswith("default-src 'none'")
    assert policy.get("content").endswith(f"script-src 'sha256-{digest}'")


def test_every_number_leads_to_its_row_and_the_row_to_its_command(page):
    results, root = page
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    from urllib.parse import unquote

    links = [a for a in root.iter("a") if a.get("href").startswith("#")]
    assert {unquote(a.get("href")[1:]) for a in links} <= set(ids)
    rows = {f"row-{row['id']}": row for row in results["rows"]}
    values = [a for a in links if "number" in a.get("class", "").split()]
    assert len(values) > 80
    for link in values:
        expected = written(rows[unquote(link.get("href")[1:])])
        assert text(link).replace("quick", "") == str(expected).replace("\u00a0", " ")
    for name, row in rows.items():
        line = next(e for e in root.iter("tr") if e.get("id") == name)
        said = [text(cell) for cell in line]
        assert said[0] == f"{row['what']} {row['id']}"
        assert said[1].replace("quick", "") == written(row).main.replace("\u00a0", " ")
        assert said[-1] == row["command"]


def test_the_answer_comes_first_and_then_all_claims_in_order(page):
    results, root = page
    sections = [s.get("aria-labelledby") for s in root.find("body/main").iter("section")]
    assert sections == ["claims", "measurements", "models", "machine", "numbers"]
    folded = [e for e in root.iter("details") if e.get("class") == "claim"]
    for claim, article in zip(results["claims"], folded, strict=True):
        assert article.get("id") == f"claim-{claim['id']}"
        where, what, judged = (text(e).replace("quick", "") for e in article.find("summary"))
        assert (where, what, judged[2:]) == (claim["where"], claim["claim"], claim["verdict"])
        paper, here = (text(e) for e in article.find("dl").iter("dd"))
        assert paper == claim["paper"]
        assert ("Not judged:" in here) == bool(claim["beside"])
        assert here.count("(") >= len(
            [r for r in results["rows"] if r["id"] in claim["rows"] and r["low"]]
        )
        assert (claim["note"] or "") in text(article)
    lead = text(with_class(root, "lead")[0]).replace("quick", "")
    assert (
        "Of 16 claims 11 are reproduced, 1 is better, 2 are not reproduced and 2 cannot be" in lead
    )


def test_all_but_the_answer_is_folded(page):
    _, root = page
    assert not any(e.get("open") for e in root.iter("details"))
    inside = {id(e) for fold in root.iter("details") for e in fold.iter()}
    shown = [e for e in root.iter() if e.tag in {"table", "figure"} and id(e) not in inside]
    assert shown == []


def test_the_headline_has_the_numbers_of_its_rows_and_needs_its_claims():
    results = copy.deepcopy(RESULTS)
    rows = {row["id"]: row for row in results["rows"]}
    first, _, other = headline_text(results)
    assert f"n = 30 in {written(rows['transfer/n2/n30']).main} " in first
    assert f"fool it in {written(rows['transfer/n30/n30']).main} of" in other
    (claim,) = (c for c in results["claims"] if c["id"] == "transfer-up")
    claim["verdict"] = "not reproduced"
    assert len(headline_text(results)) == 2
    root = ET.fromstring(render(RESULTS, published.results_and_pictures()[1]))
    lead = text(with_class(root, "lead")[0])
    assert lead == " ".join(headline_text(RESULTS)).replace("\u00a0", " ")
    shown = [f.get("id") for f in with_class(root, "first")[0].iter("figure")]
    assert shown == ["figure-fig2", "figure-fig5"]


def test_tables_and_figures_stand_under_their_stage(page):
    results, root = page
    for part, mark in (("tables", "table-"), ("figures", "figure-")):
        for entry in results[part]:
            home = next(s for s in root.iter("details") if s.get("id") == f"stage-{entry['stage']}")
            assert any(e.get("id") == mark + entry["id"] for e in home.iter())
    table = next(t for t in root.iter("table") if t.get("aria-labelledby") == "table-transfer")
    assert [text(th) for th in table.find("thead/tr")] == [
        "Images of",
        *(f"on {n}" for n in ("n2", "n3", "n20", "n30")),
    ]
    gaps = next(t for t in root.iter("table") if t.get("aria-labelledby") == "table-distances")
    assert [text(th) for th in gaps.find("thead/tr")] == ["model", "here", "there"]
    assert "not measured" in text(gaps)


def test_the_page_names_models_machine_and_times(page):
    results, root = page
    whole = text(root)
    for model in results["models"]:
        assert model["digest"] in whole
        assert model["command"] is None or model["command"] in whole
    for fact in (
        "AMD EPYC",
        "15.6 GiB",
        "torch 2.9.1+cpu",
        "Linux 6.1",
        results["dataset"]["digest"],
    ):
        assert fact in whole
    assert "47 min 50 s" in whole
    assert sum(1 for td in root.iter("td") if text(td) == "reused") == 2


def test_every_number_of_a_quick_run_carries_a_mark(page):
    results, root = page
    numbers_shown = [*with_class(root, "number"), *with_class(root, "verdict")]
    marked = [n for n in numbers_shown if any("quick" in e.get("class", "") for e in n.iter())]
    assert marked == (numbers_shown if results["quick"] else [])
    assert ("quick" in text(root.find("body"))) is results["quick"]
    banners = [text(b) for b in with_class(root, "banner")]
    assert len(banners) == results["quick"]
    assert all(results["quick_note"] in banner for banner in banners)
    # Nothing that was measured stands outside of a marked element.
    inside = {id(e) for n in numbers_shown for e in n.iter()}
    values = {written(row).main for row in results["rows"] if row["unit"] == "%"}
    values -= {claim["paper"].replace(" ", "\u00a0") for claim in results["claims"]}
    for element in root.iter():
        if id(element) not in inside:
            assert (element.text or "").strip() not in values
    for caption in [*with_class(root, "caption"), *root.iter("figcaption")]:
        if caption.get("id") != "stages":
            assert text(caption).count("quick") == results["quick"]


def test_the_page_can_be_read_without_eyes(page):
    _, root = page
    assert root.get("lang") == "en"
    body = root.find("body")
    assert [e.tag for e in body] == ["a", "header", "nav", "main", "footer", "script"]
    levels = [int(e.tag[1]) for e in body.iter() if re.fullmatch("h[1-6]", e.tag)]
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in zip([0, *levels], levels, strict=False))
    assert all(th.get("scope") in {"col", "row", "rowgroup"} for th in root.iter("th"))
    for image in root.iter("img"):
        assert image.get("alt")
        assert int(image.get("width")) > 0
        assert int(image.get("height")) > 0
    names = {e.get("aria-labelledby") for e in root.iter()} - {None}
    assert names <= {e.get("id") for e in root.iter()}
    for verdict in with_class(root, "verdict"):
        assert re.search(r"reproduced|better|cannot be compared", text(verdict))


def test_words_are_text_whatever_they_hold(pictures):
    results = sample_results()
    evil = '<script>alert(1)</script> & "quotes" \' {{ 7 * 7 }}'
    results["claims"][0]["note"] = results["title"] = results["figures"][0]["title"] = evil
    results["rows"][0]["command"] = results["tables"][0]["rows"][0]["head"] = evil
    html = render(results, pictures)
    root = ET.fromstring(html)
    assert html.count("<script") == 1
    assert html.count("{{ 7 * 7 }}") == html.count("alert(1)") >= 6
    assert next(root.iter("img")).get("alt") == evil


def test_the_same_results_give_the_same_page_and_are_left_alone(pictures):
    results = sample_results()
    before = copy.deepcopy(results)
    assert render(results, pictures) == render(json.loads(json.dumps(results)), pictures)
    assert results == before


def test_a_study_without_claims_tables_figures_and_models_has_a_page(pictures):
    results = sample_results()
    results.update(claims=[], tables=[], figures=[], models=[])
    root = ET.fromstring(render(results, {}))
    assert "Measurements" not in text(root)

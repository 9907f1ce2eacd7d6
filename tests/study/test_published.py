"""The documentation's numbers are those of one whole study of the models in the package."""

import re

import publish

from denseam import data, pretrained_card, pretrained_names
from denseam.cli import parser
from denseam.study import Plan, Study, all_stages, networks_of_package, of_package
from denseam.study.report import as_markdown

from .published import FIGURES, RESULTS, ROOT


def test_the_study_is_whole_and_of_the_models_in_the_package():
    images = data.load("mnist")
    plan = Plan().fitted(images.train, images.test)
    others = tuple(networks_of_package())
    study = Study(tuple(of_package()), images, "mnist", plan, others=others)
    assert not RESULTS["quick"]
    assert RESULTS["plan"] == {k: list(v) if isinstance(v, tuple) else v
                               for k, v in study.plan.to_json().items()}  # fmt: skip
    assert [m["digest"] for m in RESULTS["models"]] == [s.digest for s in study.subjects]
    assert [m["command"] for m in RESULTS["models"]] == [
        pretrained_card(name)["command"] for name in pretrained_names()
    ]
    assert [stage["name"] for stage in RESULTS["stages"]] == [s.name for s in all_stages(study)]


def test_results_md_is_made_of_results_json():
    assert (ROOT / "docs/results.md").read_text() == as_markdown(RESULTS)
    shown = {path.name for path in (ROOT / "docs/figures").iterdir()}
    assert shown == {path.name for path in FIGURES.values()}


def test_the_table_of_the_readme_is_of_the_same_numbers():
    (table,) = publish.TABLE.findall((ROOT / "README.md").read_text())
    assert table == publish.table(RESULTS)


def test_every_link_of_the_pages_leads_somewhere():
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for link in re.findall(r"\]\(([^)#]+?)\)", page.read_text()):
            assert link.startswith("https://") or (page.parent / link).exists(), (page, link)


def test_every_command_of_a_row_is_one():
    for command in sorted({row["command"] for row in RESULTS["rows"]}):
        program, *words = command.split()
        assert program == "denseam"
        assert parser().parse_args(words).command == words[0]

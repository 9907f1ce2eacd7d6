"""The documentation's numbers are those of one whole study of the models in the package."""

import re
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import publish
import pytest

from denseam import data, pretrained_card, pretrained_names
from denseam.cli import parser
from denseam.study import Plan, Study, all_stages, networks_of_package, of_package, stage
from denseam.study.findings import Findings
from denseam.study.report import as_markdown

from . import small
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


@pytest.mark.parametrize("slower", [0.6, 1, 1.7])
def test_time_left_is_right_within_a_factor_of_two(slower, monkeypatch, tmp_path):
    images = data.load("mnist")
    study = Study(tuple(of_package()), images, "mnist", Plan(), others=tuple(networks_of_package()))
    seconds = {each["name"]: slower * each["seconds"] for each in RESULTS["stages"]}
    clock = SimpleNamespace(now=0.0)
    clock.perf_counter = clock.time = lambda: clock.now
    monkeypatch.setattr(stage, "time", clock)

    def wait(name, _):
        clock.now += seconds[name]
        return Findings()

    every = [replace(each, run=partial(wait, each.name)) for each in all_stages(study)]
    seen = small.Seen()
    stage.run_stages(every, tmp_path, seen)
    right = sum(seconds.values())
    for name, at_start, at_end in zip(seconds, seen.left[::2], seen.left[1::2], strict=True):
        assert right / 2 < at_start < 2 * right
        right -= seconds[name]
        assert at_end == 0 or right / 2 < at_end < 2 * right
    assert (right, seen.left[-1]) == (pytest.approx(0, abs=1e-6), 0)


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

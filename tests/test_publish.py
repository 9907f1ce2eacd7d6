"""tools/publish.py: nothing is deleted before it is known that everything has a place."""

import json
from pathlib import Path

import publish
import pytest

MARKS = "<!-- results -->\nold\n<!-- /results -->\n"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A repository with old results, and the folder of a study."""
    root, results = tmp_path / "root", tmp_path / "results"
    (root / "docs" / "figures").mkdir(parents=True)
    (root / "docs" / "figures" / "old.png").write_text("old")
    (root / "docs" / "results.md").write_text("old")
    (root / "README.md").write_text(MARKS)
    (results / "figures").mkdir(parents=True)
    (results / "figures" / "new.png").write_text("new")
    (results / "results.md").write_text("new")
    (results / "results.json").write_text(json.dumps({"quick": False}))
    monkeypatch.setattr(publish, "ROOT", root)
    monkeypatch.setattr(publish, "table", lambda _: "the table\n")
    return root, results


def contents(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}


def test_a_study_takes_the_place_of_the_last_one(places: tuple[Path, Path]) -> None:
    root, results = places
    publish.main(results)
    found = contents(root)
    assert set(found) == {
        "README.md", "docs/results.md", "docs/results.json", "docs/figures/new.png"
    }  # fmt: skip
    assert found["README.md"] == MARKS.replace("old", "the table")
    assert found["docs/results.md"] == "new"


def test_it_says_where_a_model_was_trained_otherwise_than_its_other_seeds() -> None:
    commands = ["--epochs 9 --temperature 70.0", "--epochs 3 --seed 1", "--epochs 3 --seed 2"]
    rows = {f"{i}": {"command": f"denseam train {each}"} for i, each in enumerate(commands)}
    model = {"power": 2.0, "seeds": [{"error_row": name} for name in rows]}
    assert publish._apart(model, rows) == "n = 2 by `--temperature 70.0`"
    rows["0"]["command"] = "denseam train --epochs 9 --out RUN"
    assert publish._apart(model, rows) == ""


@pytest.mark.parametrize("lack", ["place", "figures", "results.md", "table"])
def test_where_something_is_missing_all_stays(
    places: tuple[Path, Path], lack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, results = places
    if lack == "place":
        (root / "README.md").write_text("no marks")
    elif lack == "figures":
        (results / "figures").rename(results / "pictures")
    elif lack == "table":
        monkeypatch.setattr(publish, "table", lambda found: found["models"])
    else:
        (results / "results.md").unlink()
    before = contents(root)
    with pytest.raises((SystemExit, KeyError)):
        publish.main(results)
    assert contents(root) == before

"""tools/ship.py: what other seeds came to goes into the card, and changes no model."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import ship


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of models with one card."""
    monkeypatch.setattr(ship, "FOLDER", tmp_path / "pretrained")
    ship.FOLDER.mkdir()
    shutil.copy(Path(ship.denseam.__file__).parent / "pretrained" / "mnist-n30.json", ship.FOLDER)
    return ship.FOLDER


def run(path, card, done, **recipe):
    """The folder of a run by the recipe of a card, but for ..., after so many epochs."""
    path.mkdir()
    facts = {**card, "recipe": {**card["recipe"], **recipe}}
    facts["environment"] = {**card["environment"], "device": "cuda:0"}
    (path / "run.json").write_text(json.dumps(facts))
    (path / "records.jsonl").write_text(
        "".join(json.dumps({"epoch": e, "test_error": 0.5 / (e + 1)}) + "\n" for e in range(done))
    )
    return str(path)


@pytest.mark.parametrize("done", [20, 50])
def test_seeds_alone_go_into_the_card_whole_or_stopped(folder, tmp_path, monkeypatch, done):
    before = json.loads((folder / "mnist-n30.json").read_text())
    made = run(tmp_path / "run", before, done, seed=2, epochs=50)
    monkeypatch.setattr(sys, "argv", ["ship.py", "--seeds", made])
    ship.main()
    after = json.loads((folder / "mnist-n30.json").read_text())
    assert [p.name for p in folder.iterdir()] == ["mnist-n30.json"]
    own, one, two = after.pop("seeds")
    assert [own, one] == before.pop("seeds")[:2]
    assert after == before
    assert (two["seed"], two["epochs"], two["error"]) == (2, done, 0.5 / done)
    assert two.get("schedule") == (None if done == 50 else 50)
    assert two["command"].startswith("denseam train --power 30 --epochs 50 ")
    assert two["command"].endswith("--seed 2 --products 8-bit --paper --device cuda:0 --out RUN")


def test_runs_of_two_powers_are_refused(folder, tmp_path, monkeypatch):
    card = json.loads((folder / "mnist-n30.json").read_text())
    runs = [run(tmp_path / f"{power}", card, 1, power=power) for power in (20.0, 30.0)]
    monkeypatch.setattr(sys, "argv", ["ship.py", *runs])
    with pytest.raises(SystemExit, match="differ"):
        ship.main()


def test_the_seed_of_the_model_itself_is_no_other_seed(folder, tmp_path, monkeypatch):
    before = (folder / "mnist-n30.json").read_bytes()
    made = run(tmp_path / "run", json.loads(before), 1, seed=0)
    monkeypatch.setattr(sys, "argv", ["ship.py", "--seeds", made])
    with pytest.raises(SystemExit, match="one of these seeds"):
        ship.main()
    assert (folder / "mnist-n30.json").read_bytes() == before

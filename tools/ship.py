"""Put trained models into the package: RUN ... -> src/denseam/pretrained/NAME.safetensors, .json.

    .venv/bin/python tools/ship.py runs/n30 runs/n30-1 runs/n30-2

The folders are finished runs of one power on the embedded MNIST. The first one is shipped: which
that is, is decided before any test error is known (seed 0 of the longest schedule). The others
tell how much the seed matters; what the card that is there says of other seeds stays. The memories
are rounded to float16, and nothing is written when that moves the test error by more than 0.02
points.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

import denseam
from denseam import Recipe, data, evaluate
from denseam.files import write_json

FOLDER = Path(denseam.__file__).parent / "pretrained"
MOST_MOVED = 0.0002
SHOWN_RECORDS = 50
_NAMES = {"dam": "n{0}", "polynomial": "polynomial{0}", "relu": "relu", "rbf": "rbf"}
RULE = (
    "Seed 0 of the longest schedule of its recipe, whatever its test error; the recipe was chosen "
    "by the error on 10,000 held-out training images (docs/log.md)."
)


def main() -> None:
    """Round, measure, write."""
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    runs = [_Run(Path(folder)) for folder in sys.argv[1:]]
    shipped = runs[0]
    if len({(run.recipe.network, run.recipe.power) for run in runs}) > 1:
        raise SystemExit("the runs differ in their network or power")
    name = f"mnist-{_NAMES[shipped.recipe.network].format(f'{shipped.recipe.power:g}')}"
    images = data.load("mnist")
    if any(run.facts["data"]["digest"] != images.train.digest() for run in runs):
        raise SystemExit("a run was trained on other images than MNIST's 60,000")
    path = FOLDER / f"{name}.safetensors"
    draft = path.with_suffix(".draft")
    shipped.model.save(draft, dtype=torch.float16)
    before, after = (evaluate(m, images.test) for m in (shipped.model, denseam.load(draft)))
    if abs(after.error - before.error) > MOST_MOVED:
        draft.unlink()
        raise SystemExit(f"rounding moves the error from {before.error} to {after.error}")
    draft.replace(path)
    card = {
        "name": name,
        "command": shipped.command,
        "recipe": shipped.recipe.to_json(),
        "data": shipped.facts["data"],
        "environment": shipped.facts["environment"],
        "seconds": round(sum(record["seconds"] for record in shipped.records)),
        "chosen": RULE,
        "dtype": "float16",
        "errors": {
            "test": _error(after),
            "test, before rounding": _error(before),
            "train": _error(evaluate(denseam.load(path), images.train)),
        },
        "seeds": _seeds([run.summary(len(images.test)) for run in runs], path.with_suffix(".json")),
        "records": _thinned(shipped.records),
    }
    write_json(path.with_suffix(".json"), card)
    print(name, card["errors"]["test"], f"{path.stat().st_size / 1e6:.2f} MB")


class _Run:
    """A finished run folder."""

    def __init__(self, folder: Path) -> None:
        self.facts: dict[str, Any] = json.loads((folder / "run.json").read_text())
        self.recipe = Recipe(**self.facts["recipe"])
        self.model = denseam.load(folder)
        lines = (folder / "records.jsonl").read_text().splitlines()
        self.records = [json.loads(line) for line in lines]

    @property
    def command(self) -> str:
        """What trains it again."""
        return f"{self.recipe.command()} --out RUN"

    def summary(self, n_images: int) -> dict[str, Any]:
        """One line of the table over seeds."""
        return {
            "seed": self.recipe.seed,
            "epochs": self.recipe.epochs,
            "error": self.records[-1]["test_error"],
            "n_images": n_images,
            "command": self.command,
        }


def _seeds(found: list[dict[str, Any]], card: Path) -> list[dict[str, Any]]:
    """Those found now, and those of other seeds that an earlier card has."""
    known = json.loads(card.read_text())["seeds"] if card.exists() else []
    now = {each["seed"] for each in found}
    return found + [each for each in known if each["seed"] not in now]


def _error(found: denseam.Evaluation) -> dict[str, Any]:
    low, high = found.error_interval
    return {"error": found.error, "low": low, "high": high, "n_images": found.n_images}


def _thinned(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """About ``SHOWN_RECORDS`` epochs, the first and the last among them."""
    stride = max(1, len(records) // SHOWN_RECORDS)
    chosen = [*records[:-1:stride], records[-1]]
    return [{k: _short(v) for k, v in each.items() if k != "class_errors"} for each in chosen]


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()

"""Put trained models into the package: RUN ... -> src/denseam/pretrained/NAME.safetensors, .json.

    .venv/bin/python tools/ship.py runs/n30 runs/n30-1 runs/n30-2
    .venv/bin/python tools/ship.py --seeds runs/n30-3

The folders are runs of one network and power on one set that is known by name. The first one is
finished, and shipped: which that is, is decided before any test error is known (seed 0 of the
longest schedule). The others, all of them with ``--seeds``, only tell the card how much the seed
matters, and may have been stopped early; what the card says of further seeds stays. The memories
are rounded to float16, and nothing is written when that moves the test error by more than 0.02
points.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

import denseam
from denseam import Recipe, calibrate_beta, data, evaluate
from denseam.classifier import Classifier
from denseam.data import ImageSet
from denseam.files import write_json

FOLDER = Path(denseam.__file__).parent / "pretrained"
MOST_MOVED = 0.0002
SHOWN_RECORDS = 50
_NAMES = {
    "dam": "n{0}", "polynomial": "polynomial{0}", "relu": "relu", "rbf": "rbf",
    "prototypes": "certified-{1}", "conv-front": "conv-front-n{0}", "conv-dam": "conv-n{0}",
    "cnn": "cnn",
}  # fmt: skip
ATTACKED = 200  # images, to compare certificates with
RULE = (
    "Seed 0 of the longest schedule of its recipe, decided before its test error was known; "
    "recipes were compared on 10,000 held-out training images (docs/developers/log.md)."
)
_CONVOLUTIONS = (
    "Seed 0, decided before its test error was known; levels, first memories and steps were "
    "compared on held-out training images (docs/convolutions.md)."
)
RULES = {
    **dict.fromkeys(("conv-front", "conv-dam", "cnn"), _CONVOLUTIONS),
    "prototypes": "Seed 0, decided before its test error was known; target radius and momentum are "
    "those of Voracek and Hein (ICML 2022); distorted images in place of their shifts, and the "
    "number of epochs, were chosen on held-out images (docs/developers/log.md).",
}


def main() -> None:
    """Round, measure, write."""
    only_seeds = sys.argv[1:2] == ["--seeds"]
    runs = [_Run(Path(folder)) for folder in sys.argv[2 if only_seeds else 1 :]]
    if not runs:
        raise SystemExit(__doc__)
    if len({(run.recipe.network, run.recipe.power) for run in runs}) > 1:
        raise SystemExit("the runs differ in their network or power")
    known = runs[0].facts["data"]["name"].removesuffix(" train")
    images = data.load(known)
    if any(run.facts["data"]["digest"] != images.train.digest() for run in runs):
        raise SystemExit(f"a run was trained on other images than all of {known}")
    recipe = runs[0].recipe
    norm = recipe.certify.partition(":")[0]
    kind = _NAMES[recipe.network].format(f"{recipe.power:g}", norm)
    name = f"{known.removesuffix('-mnist')}-{kind}{'-shift' if recipe.shift else ''}"
    path = FOLDER / f"{name}.json"
    before = json.loads(path.read_text()) if path.exists() else {"seeds": []}
    found = [run.summary(len(images.test)) for run in runs]
    now = {each["seed"] for each in found}
    if only_seeds:
        if not before["seeds"] or before["seeds"][0]["seed"] in now:
            raise SystemExit(f"{name} is not there, or of one of these seeds: ship it as a whole")
        own, *others = [each for each in before["seeds"] if each["seed"] not in now]
        card = {**before, "seeds": [own, *sorted(found + others, key=lambda each: each["seed"])]}
    else:
        others = [each for each in before["seeds"] if each["seed"] not in now]
        card = {**_card(runs[0], name, images), "seeds": found + others}
        card["records"] = card.pop("records")  # last: they are long
    write_json(path, card)
    print(name, card["errors"]["test"], [each["error"] for each in card["seeds"]])


def _card(shipped: "_Run", name: str, images: data.Dataset) -> dict[str, Any]:
    """The card of a model, which it writes; without its seeds."""
    path = FOLDER / f"{name}.safetensors"
    draft, trained = path.with_suffix(".draft"), shipped.model
    trained.save(draft, dtype=torch.float16)
    before, after = (evaluate(m, images.test) for m in (trained, denseam.load(draft)))
    if abs(after.error - before.error) > MOST_MOVED:
        draft.unlink()
        raise SystemExit(f"rounding moves the error from {before.error} to {after.error}")
    draft.replace(path)
    beta_sm = calibrate_beta(denseam.load(path), images.test.visible(), images.test.labels)
    certified = _certified(denseam.load(path), shipped.recipe.certify, images.test)
    return {
        "name": name,
        "command": shipped.command,
        "recipe": shipped.recipe.to_json(),
        "data": shipped.facts["data"],
        "environment": shipped.facts["environment"],
        "seconds": round(sum(record["seconds"] for record in shipped.records)),
        "chosen": RULES.get(shipped.recipe.network, RULE),
        "dtype": "float16",
        # Of the softmax of Y: the mean confidence on the test images is the accuracy there.
        "beta_sm": float(f"{beta_sm:.4g}"),
        "errors": {
            "test": _error(after),
            "test, before rounding": _error(before),
            "train": _error(evaluate(denseam.load(path), images.train)),
        },
        **certified,
        "records": _thinned(shipped.records),
    }


def _certified(model: Classifier, certify: str, test: ImageSet) -> dict[str, Any]:
    """Certificates of all test images; nothing for a model that was not trained for them."""
    if not certify:
        return {}
    norm, _, eps = certify.partition(":")
    v, y = test.visible(), test.labels
    result = {}
    for name, options in (
        ("distance", {"bound": "distance"}),
        ("distance, no box", {"bound": "distance", "box": False}),
        ("pairwise", {"bound": "pairwise", "box": False}),
    ):
        made = denseam.certify(model, v, y, norm=norm, **options)
        result[name] = {**made.summary(), "at": {eps: made.accuracy(float(eps))}}
        if name == "distance":
            result[name]["first"] = [_short(r) for r in made.distances[:ATTACKED].tolist()]
            inside = made
    attack = denseam.minimum_norm(model, v[:ATTACKED], y[:ATTACKED], norm=norm, eight_bit=False)
    order = 2 if norm == "l2" else torch.inf
    moved = torch.linalg.vector_norm((attack.images - v[:ATTACKED]).double(), ord=order, dim=1) / 2
    moved[model.predict(v[:ATTACKED]) != y[:ATTACKED]] = 0
    near = inside.distances[:ATTACKED]
    result["attack"] = {
        "n_images": ATTACKED,
        "left": {eps: float((moved > float(eps)).double().mean())},
        "certified": {eps: float((near > float(eps)).double().mean())},
        "inside": int((moved < near).sum()),
    }
    return {"attack": result.pop("attack"), "certified": result}


class _Run:
    """The folder of a run."""

    def __init__(self, folder: Path) -> None:
        self.facts: dict[str, Any] = json.loads((folder / "run.json").read_text())
        self.folder = folder
        self.recipe = Recipe(**self.facts["recipe"])
        lines = (folder / "records.jsonl").read_text().splitlines()
        self.records = [json.loads(line) for line in lines]

    @property
    def model(self) -> Classifier:
        """What it came to; the runs that are not shipped may lack it."""
        return denseam.load(self.folder)

    @property
    def command(self) -> str:
        """What trains it again."""
        device = self.facts["environment"]["device"]
        where = "" if device == "cpu" else f" --device {device}"
        return f"{self.recipe.command()}{where} --out RUN"

    def summary(self, n_images: int) -> dict[str, Any]:
        """One line of the table over seeds; ``schedule`` where a run was stopped before its end."""
        done, planned = self.records[-1]["epoch"] + 1, self.recipe.epochs
        return {
            "seed": self.recipe.seed,
            "epochs": done,
            **({"schedule": planned} if done < planned else {}),
            "error": self.records[-1]["test_error"],
            "n_images": n_images,
            "command": self.command,
        }


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

"""Recipes found from the data, beside scaled SVC() and MLPClassifier(): docs/data_sets.md.

    python benchmarks/data_sets.py                  # all that has no result yet (hours, with MNIST)
    python benchmarks/data_sets.py 'iris*' 'wine*'  # some pieces
    python benchmarks/data_sets.py --tables         # the page, from the results there are

Errors on held-out quarters (the test images of MNIST and Fashion-MNIST), in percent: means over
three seeds, which draw splits, memories and batches; one seed for MNIST and Fashion-MNIST. Every
network is `denseam train --dataset X --power n`, with `--epochs 20` or without; "exp" is
`--energy exponential` at n = 30. Seconds are processor time of one training, on one thread.
"""

import csv
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tables import Page, command, markdown

from denseam import data
from denseam.data import Dataset, FeatureSet, ImageSet
from denseam.errors import DataUnavailableError
from denseam.training import fit_recipe, train

POWERS = {"2": 2, "3": 3, "6": 6, "20": 20, "30": 30, "exp": 30}
RIVALS = {"SVC": SVC, "MLPClassifier": MLPClassifier}
HERE = Path(__file__).resolve().parent


def table(name: str, seed: int) -> Dataset:
    """Return a table of scikit-learn through a CSV file, and a split of its classes alike."""
    rows = getattr(datasets, f"load_{name}")()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*map(str, rows.feature_names), "label"])
            writer.writerows(
                [*x, rows.target_names[y]] for x, y in zip(rows.data, rows.target, strict=True)
            )
        loaded = data.load(path)
    examples = (
        loaded if isinstance(loaded, FeatureSet) else FeatureSet.from_arrays(rows.data, rows.target)
    )
    return halves(examples, seed)


def digits(seed: int) -> Dataset:
    images, labels = datasets.load_digits(return_X_y=True)
    return halves(
        ImageSet.from_arrays(images.reshape(-1, 8, 8) / 8 - 1, labels, name="digits"), seed
    )


def shapes(seed: int, side: int = 24, count: int = 600) -> Dataset:
    """Return discs, squares and triangles of any dark colour on any bright one."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:side, :side]
    pictures = np.zeros((count, 3, side, side))
    labels = np.arange(count) % 3
    for picture, label in zip(pictures, labels, strict=True):
        paper, ink = rng.integers(180, 256, 3), rng.integers(0, 120, 3)
        (cx, cy), size = (
            rng.uniform(0.4 * side, 0.6 * side, 2),
            rng.uniform(0.22 * side, 0.33 * side),
        )
        inside = (
            (x - cx) ** 2 + (y - cy) ** 2 < size**2,
            np.maximum(abs(x - cx), abs(y - cy)) < 0.85 * size,
            (y - cy < 0.8 * size) & (y - cy > 2 * abs(x - cx) - 1.3 * size),
        )[label]
        picture[:] = np.where(inside, ink[:, None, None], paper[:, None, None])
    noisy = (pictures + rng.normal(0, 8, pictures.shape)).clip(0, 255).astype(np.uint8)
    return halves(
        ImageSet(torch.from_numpy(noisy), torch.from_numpy(labels), 3, name="shapes"), seed
    )


def embeddings(seed: int, count: int = 3000) -> Dataset:
    """Return unit vectors in 384 dimensions, of 20 classes that overlap."""
    rng = np.random.default_rng(5)
    centres, labels = rng.normal(size=(20, 384)), np.arange(count) % 20
    rows = 0.2 * centres[labels] + rng.normal(size=(count, 384))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return halves(FeatureSet.from_arrays(rows, labels, name="embeddings"), seed)


def halves(examples: Any, seed: int) -> Dataset:
    """Return three quarters to train on, one to test on, with the same shares of classes."""
    rows = np.arange(len(examples))
    kept, held = train_test_split(
        rows, test_size=0.25, stratify=examples.labels.numpy(), random_state=seed
    )
    return Dataset(examples.name, examples.subset(kept), examples.subset(held))


def known(name: str, seed: int) -> Dataset:
    del seed  # its split is published
    return data.load(name)


SETS: dict[str, tuple[Callable[[int], Dataset], int]] = {
    "iris": (partial(table, "iris"), 3),
    "wine": (partial(table, "wine"), 3),
    "breast cancer": (partial(table, "breast_cancer"), 3),
    "digits": (digits, 3),
    "shapes": (shapes, 3),
    "embeddings": (embeddings, 3),
    "fashion-mnist": (partial(known, "fashion-mnist"), 1),
    "mnist": (partial(known, "mnist"), 1),
}


def measured(name: str, fit: Callable[[Dataset, int], float]) -> dict[str, Any]:
    """Return errors of the seeds, and the mean of processor seconds."""
    make, seeds = SETS[name]
    errors, seconds = [], []
    for seed in range(seeds):
        try:
            examples = make(seed)
        except DataUnavailableError as error:
            raise SystemExit(f"{name}: {error}") from error
        start = time.process_time()
        errors.append(fit(examples, seed))
        seconds.append(time.process_time() - start)
    return {"errors": errors, "seconds": sum(seconds) / len(seconds)}


def network(power: str, epochs: int | None, examples: Dataset, seed: int) -> float:
    energy = {"energy": "exponential"} if power == "exp" else {}
    recipe = fit_recipe(examples.train, POWERS[power], epochs, seed=seed, **energy)
    error = train(recipe, examples).records[-1].test_error
    return float("nan") if error is None else error


def rival(kind: str, examples: Dataset, seed: int) -> float:
    model = RIVALS[kind](random_state=seed)
    scaled = make_pipeline(StandardScaler(), model)
    scaled.fit(examples.train.inputs().numpy(), examples.train.labels.numpy())
    return 1 - scaled.score(examples.test.inputs().numpy(), examples.test.labels.numpy())


def pieces() -> dict[str, Callable[[], Any]]:
    work: dict[str, Callable[[], Any]] = {}
    for name in SETS:
        for kind in RIVALS:
            work[f"{name}/{kind}"] = partial(measured, name, partial(rival, kind))
        for epochs in (20, None):
            for power in POWERS:
                key = f"{name}/{power}/{epochs or 'default'}"
                work[key] = partial(measured, name, partial(network, power, epochs))
    return work


def allowed(error: float) -> float:
    """Return what counts as beside a rival's error: 1.5 points above, 2 from 15 % on."""
    return error + (0.015 if error < 0.15 else 0.02)


def written(results: dict[str, Any]) -> str:
    """Return the table of the results there are; bold cells are above what is allowed."""
    lines = []
    for name in SETS:
        rivals = [results.get(f"{name}/{kind}") for kind in RIVALS]
        best = min((np.mean(each["errors"]) for each in rivals if each), default=None)
        for epochs in ("20", "default"):
            cells = []
            for power in POWERS:
                result = results.get(f"{name}/{power}/{epochs}")
                cells.append(cell(result, None if best is None else allowed(float(best))))
            if any(c != "-" for c in cells):
                lines.append([name, epochs, *cells, *(cell(each, None) for each in rivals)])
    return markdown(
        ["", "epochs", *(f"n = {n}" if n != "exp" else n for n in POWERS), *RIVALS], lines
    )


def cell(result: dict[str, Any] | None, limit: float | None) -> str:
    if result is None:
        return "-"
    error = float(np.mean(result["errors"]))
    text = f"{100 * error:.1f}"
    if limit is not None and error > limit:
        text = f"**{text}**"
    return f"{text}, {result['seconds']:.3g} s"


PAGE = Page(HERE.parent / "docs/data_sets.md", HERE / "results/data_sets.json", {"table": written})

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    command(PAGE, pieces(), __doc__)

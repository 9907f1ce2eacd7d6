"""DenseAMClassifier beside `denseam train` on tables: a table of docs/sklearn.md.

    python benchmarks/estimator.py              # all that has no result yet (minutes)
    python benchmarks/estimator.py --tables     # the page, from the results there are

Test errors in percent, means over three seeds, which draw splits, memories and batches; both with
nothing but a power. Seconds are processor time of one training and its test, on one thread.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from data_sets import HERE, POWERS, measured, network
from tables import Page, command, markdown

from denseam.data import Dataset, FeatureSet
from denseam.sklearn import DenseAMClassifier

SETS = ("iris", "wine", "breast cancer", "digits")
SHOWN = [power for power in POWERS if power != "exp"]


def rows(examples: Dataset) -> Dataset:
    """Return the set with rows of numbers in place of pictures."""
    train, test = (
        FeatureSet(each.inputs(torch.float64), each.labels, each.n_classes, name=each.name)
        for each in (examples.train, examples.test)
    )
    return Dataset(examples.name, train, test)


def estimator(power: str, examples: Dataset, seed: int) -> float:
    train, test = (
        (each.inputs(torch.float64).numpy(), each.labels.numpy())
        for each in (examples.train, examples.test)
    )
    model = DenseAMClassifier(power=POWERS[power], random_state=seed)
    return 1 - float(model.fit(*train).score(*test))


def command_line(power: str, examples: Dataset, seed: int) -> float:
    return network(power, None, rows(examples), seed)


def pieces() -> dict[str, Callable[[], Any]]:
    return {
        f"{name}/{power}/{kind}": partial(measured, name, partial(fit, power))
        for name in SETS
        for power in SHOWN
        for kind, fit in (("estimator", estimator), ("train", command_line))
    }


def written(results: dict[str, Any]) -> str:
    lines = []
    for name in SETS:
        for kind, title in (("estimator", "`DenseAMClassifier`"), ("train", "`denseam train`")):
            cells = [results[f"{name}/{power}/{kind}"] for power in SHOWN]
            texts = [f"{100 * np.mean(c['errors']):.1f}, {c['seconds']:.2g} s" for c in cells]
            lines.append([name, title, *texts])
    return markdown(["", "", *(f"n = {power}" for power in SHOWN)], lines)


PAGE = Page(HERE.parent / "docs/sklearn.md", HERE / "results/estimator.json", {"beside": written})

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    command(PAGE, pieces(), __doc__)

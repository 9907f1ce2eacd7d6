"""DenseAMClassifier, SVC and MLPClassifier, all with their defaults: the table of a page.

    python benchmarks/sklearn_tables.py [--repeats 3] [--write docs/sklearn.md]

Stratified 5-fold cross-validation, repeated with other folds and other seeds; one thread. Seconds
are processor time of one fit and one prediction, the mean over folds. With ``--write`` the table
replaces the one between the marks of the file.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
    make_moons,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tables import filled, markdown
from threadpoolctl import threadpool_limits

from denseam.files import write_bytes
from denseam.sklearn import DenseAMClassifier

SETS = {
    "digits": load_digits(return_X_y=True),
    "breast cancer": load_breast_cancer(return_X_y=True),
    "wine": load_wine(return_X_y=True),
    "iris": load_iris(return_X_y=True),
    "make_moons": make_moons(500, noise=0.25, random_state=0),
    "make_classification": make_classification(
        1000, n_features=20, n_informative=8, n_classes=3, random_state=0
    ),
}
MODELS = {
    "DenseAMClassifier()": DenseAMClassifier(),
    "SVC()": SVC(),
    "scaled SVC()": make_pipeline(StandardScaler(), SVC()),
    "MLPClassifier()": MLPClassifier(),
    "scaled MLPClassifier()": make_pipeline(StandardScaler(), MLPClassifier()),
}


def measured(model, X, y, repeats):
    """Return the accuracy of every fold, (repeats * 5,), and seconds of one fit and prediction."""
    scores, seconds = [], []
    for seed in range(repeats):
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        for train, test in folds.split(X, y):
            fresh = clone(model)
            names = [name for name in fresh.get_params() if name.endswith("random_state")]
            fresh.set_params(**dict.fromkeys(names, seed))
            start = time.process_time()
            predicted = fresh.fit(X[train], y[train]).predict(X[test])
            seconds.append(time.process_time() - start)
            scores.append(np.mean(predicted == y[test]))
    return np.array(scores), np.mean(seconds)


def table(repeats):
    rows = []
    for name, (X, y) in SETS.items():
        cells = []
        for model in MODELS.values():
            scores, seconds = measured(model, X, y, repeats)
            each = scores.reshape(repeats, 5).mean(axis=1)
            cells.append(f"{100 * scores.mean():.1f} ± {100 * each.std():.1f}, {seconds:.2f} s")
        rows.append([f"{name}, {X.shape[0]} x {X.shape[1]}", *cells])
        print(*rows[-1], sep=" | ", flush=True)
    return markdown(["", *MODELS], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        text = table(arguments.repeats)
    if arguments.write is None:
        return
    page = filled(arguments.write.read_text(), "table", text)
    write_bytes(arguments.write, page.encode())


if __name__ == "__main__":
    main()

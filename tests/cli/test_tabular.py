"""Tables of numbers through the command line: any offset, any network."""

import csv
import json

import numpy as np
import pytest


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The same table without an offset, and a thousand million deviations away from 0."""
    folder = tmp_path_factory.mktemp("tables")
    random = np.random.default_rng(0)
    labels = np.arange(90) % 3
    rows = (random.normal(size=(90, 4)) + 3 * np.eye(4)[labels]).round(2)
    for name, offset in (("near", 0.0), ("far", 1e9)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["a", "b", "c", "d", "label"])
            writer.writerows([*map(repr, map(float, x)), "xyz"[y]] for x, y in
                             zip(rows + offset, labels, strict=True))  # fmt: skip
        np.save(folder / f"{name}.npy", rows + offset)
    return folder


def trained(run, tables, name, out, *more):
    words = ("--dataset", tables / f"{name}.csv", "--epochs", 10, "--power", 6)
    code, said, err = run("train", *words, "--out", out, *more)
    assert code == 0, err
    return said


def test_an_offset_changes_no_answer(run, tables, tmp_path):
    answers = {}
    for name in ("near", "far"):
        trained(run, tables, name, tmp_path / name)
        evaluation = json.loads(run("evaluate", tmp_path / name, "--json")[1])
        predicted = json.loads(run("predict", tmp_path / name, tables / f"{name}.npy", "--json")[1])
        whole = json.loads(run("predict", tmp_path / name, tables / f"{name}.csv", "--json")[1])
        assert [row["label"] for row in whole["predictions"]] == [
            row["label"] for row in predicted["predictions"]
        ]
        reason = json.loads(run("explain", tmp_path / name, "--json")[1])
        labels = [row["label"] for row in predicted["predictions"]]
        answers[name] = evaluation["confusion"], labels, reason["predicted"]["label"]
    assert answers["near"] == answers["far"]
    assert len(set(answers["far"][1])) == 3


@pytest.mark.parametrize("kind", ["relu", "nearest"])
def test_other_networks_learn_a_table(run, tables, tmp_path, kind):
    power = () if kind == "nearest" else ("--n-memories", 20)
    said = run(
        "train", "--model", kind, "--dataset", tables / "far.csv", "--epochs", 10,
        "--out", tmp_path / "run", *power,
    )  # fmt: skip
    assert said[0] == 0, said[2]
    error = json.loads(run("evaluate", tmp_path / "run", "--json")[1])["error"]
    assert error < 0.4

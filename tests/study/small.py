"""A whole study in seconds: tiny models, three classes of 5 x 5 pixels, a handful of each."""

import contextlib
import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from training import small

from denseam import DenseAM
from denseam.baselines import NearestNeighbour, PolynomialNetwork, RBFNetwork, ReLUNetwork
from denseam.data import Dataset
from denseam.descent import cross_boundary
from denseam.figures import canvas
from denseam.study import Plan, Study, Subject
from denseam.study.stage import Outcome, Stage
from denseam.study.stages import boundary

PLAN = Plan(
    boundary_images=8, sign_images=8, iterative_images=4, iterative_steps=2,
    eps=(0.0, 0.15, 0.3, 0.4, 0.5), rubbish_per_class=2, rubbish_max_steps=10,
    reference_images=20, shown_memories=4, network_images=12, distance_images=6,
    audit_images=5, audit_queries=3,
)  # fmt: skip
QUICK = dataclasses.replace(PLAN, quick=True, boundary_images=1000, iterative_steps=10)


def dataset(name: str = "toy") -> Dataset:
    """So noisy that every model errs."""
    return Dataset(name, small.images(60, 1, 0.25, name), small.images(30, 2, 0.25, name))


def save_npz(path: Path) -> Path:
    """The data set as a file for the command line."""
    return small.save_npz(path, dataset())


def model(power: float, temperature: float | None = None) -> DenseAM:
    """K = 12 memories, each a training image that votes for its class."""
    images = dataset().train
    votes = 2.0 * torch.nn.functional.one_hot(images.labels[:12], 3) - 1
    made = DenseAM(25, 3, 12, power, temperature or (10.0 if power == 30 else 8.0))
    made.memories.data = 0.9 * torch.cat([images.visible()[:12], votes], dim=1)
    return made


def study(*powers: float, name: str = "toy", **plan: Any) -> Study:
    """Of models that a command would call by their names."""
    subjects = tuple(Subject(f"n{power:g}", model(power), f"toy-n{power:g}") for power in powers)
    return Study(subjects, dataset(name), name, dataclasses.replace(PLAN, **plan))


def others() -> tuple[Subject, ...]:
    """Other networks that remember the same images."""
    memories, images = model(2).memories.data, dataset().train
    made: dict[str, Any] = {
        "relu": ReLUNetwork(25, 3, 12),
        "polynomial3": PolynomialNetwork(25, 3, 12, 3.0, 20.0),
        "polynomial5": PolynomialNetwork(25, 3, 12, 5.0, 20.0),
        "rbf": RBFNetwork(25, 3, 12, temperature=3.0),
    }
    for network in made.values():
        network.memories.data = memories.clone()
    made["nearest"] = NearestNeighbour.of(images)
    return tuple(Subject(name, network, f"toy-{name}") for name, network in made.items())


@contextlib.contextmanager
def quickly() -> Iterator[None]:
    """Coarse pictures, a few steps only behind the boundaries of Fig. 4, --quick still quicker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plan, "smaller", lambda: QUICK)
        patch.setattr(canvas, "DPI", 30)
        patch.setattr(boundary, "cross_boundary", partial(cross_boundary, max_steps=30))
        yield


class Seen:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.left: list[float | None] = []
        self.ran: list[str] = []
        self.reused: list[str] = []

    def on_start(self, stage: Stage, number: int, total: int, left: float | None) -> None:
        self.events.append(("start", stage.name, number, total))
        self.left.append(left)

    def on_progress(self, done: int, total: int) -> None:
        self.events.append(("progress", done, total))

    def on_end(self, outcome: Outcome, number: int, total: int, left: float | None) -> None:
        self.events.append(("end", outcome.stage.name, number, total))
        self.left.append(left)
        (self.reused if outcome.reused else self.ran).append(outcome.stage.name)

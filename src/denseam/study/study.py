"""A study: models, images, sizes; and the stages that it consists of."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from denseam.data import Dataset, ImageSet
from denseam.data.pixels import Scale
from denseam.pretrained import baseline_names, pretrained_names
from denseam.study.plan import Plan
from denseam.study.subjects import Subject


def default_out(*, quick: bool, programme: str = "paper") -> str:
    """Return the folder of a study; a quick one does not overwrite a whole one."""
    words = ["results", *([] if programme == "paper" else [programme]), *["quick"][:quick]]
    return "-".join(words)


@dataclass(frozen=True)
class Study:
    """Models, images and sizes that all stages share."""

    subjects: tuple[Subject, ...]  # dense associative memories
    images: Dataset[ImageSet]
    images_source: str  # as commands take it: "mnist", or a path
    plan: Plan
    out: str = "results"  # folder
    others: tuple[Subject, ...] = ()  # networks to compare with (section 7)
    images_scale: Scale | None = None  # units of pixels, where commands have to say so
    programme: str = "paper"  # name of a row of ``programmes.PROGRAMMES``

    @cached_property
    def test_digest(self) -> str:
        """SHA-256 of the test images."""
        return self.images.test.digest()

    @cached_property
    def train_digest(self) -> str:
        """SHA-256 of the training images."""
        return self.images.train.digest()

    @property
    def everyone(self) -> tuple[Subject, ...]:
        """Memories, then the networks to compare with."""
        return (*self.subjects, *self.others)

    @property
    def names(self) -> str:
        """Names of the images and their classes, for stages' keys."""
        return json.dumps([self.images.name, self.images.test.class_names])

    def inputs(
        self, subjects: Sequence[Subject] | None = None, *, train: bool = False
    ) -> dict[str, str]:
        """Return digests of models, all by default, and of images, for stages' keys."""
        chosen = self.subjects if subjects is None else subjects
        digests = {"images": self.names, "test": self.test_digest}
        digests |= {subject.name: subject.digest for subject in chosen}
        return digests | ({"train": self.train_digest} if train else {})

    def command(self, name: str, subject: Subject, *options: object) -> str:
        """Return a command line about one model."""
        words = ["denseam", name, subject.source, *self.dataset_option, *options]
        return shlex.join(map(str, words))

    def alone(self, stage: str) -> str:
        """Return the command line that runs one stage and the stages it needs."""
        return f"{self.whole} --only {shlex.quote(stage)}"

    @property
    def whole(self) -> str:
        """The command line that runs all stages."""
        words = ["denseam", "reproduce", *(["--quick"] if self.plan.quick else [])]
        words += [] if self.programme == "paper" else ["--study", self.programme]
        sources = [subject.source for subject in self.everyone]
        if sources != [*pretrained_names(), *baseline_names()]:
            words += ["--models", *sources]
        words += self.dataset_option
        if self.plan.seed:
            words += ["--seed", str(self.plan.seed)]
        if self.out != default_out(quick=self.plan.quick, programme=self.programme):
            words += ["--out", self.out]
        return shlex.join(words)

    def file(self, stage: str, name: str) -> str:
        """Return the path of a stage's file, as commands take it."""
        return str(Path(self.out, "stages", stage, name))

    @property
    def dataset_option(self) -> list[str]:
        """Options that name the images on a command line; none for MNIST."""
        named = [] if self.images_source == "mnist" else ["--dataset", self.images_source]
        return named + ([] if self.images_scale is None else ["--scale", self.images_scale])

"""A study: models, images, sizes; and the stages that it consists of."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from denseam.data import Dataset
from denseam.study.plan import Plan
from denseam.study.subjects import Subject

__all__ = ["Study"]


@dataclass(frozen=True)
class Study:
    """What all stages are about."""

    subjects: tuple[Subject, ...]
    images: Dataset
    images_source: str  # as a command takes it: "mnist", or a path
    plan: Plan

    @cached_property
    def test_digest(self) -> str:
        """SHA-256 of the test images."""
        return self.images.test.digest()

    @cached_property
    def train_digest(self) -> str:
        """SHA-256 of the training images."""
        return self.images.train.digest()

    def inputs(
        self, subjects: Sequence[Subject] | None = None, *, train: bool = False
    ) -> dict[str, str]:
        """Digests of the test images and of models, all by default; for the keys of stages."""
        chosen = self.subjects if subjects is None else subjects
        found = {subject.name: subject.digest for subject in chosen} | {"test": self.test_digest}
        return found | ({"train": self.train_digest} if train else {})

    def command(self, name: str, subject: Subject, *options: object) -> str:
        """A command line about one model."""
        of_images = [] if self.images_source == "mnist" else ["--dataset", self.images_source]
        return " ".join(map(str, ["denseam", name, subject.source, *of_images, *options]))

    def alone(self, stage: str) -> str:
        """The command line that runs one stage, and those it needs."""
        quick = " --quick" if self.plan.quick else ""
        return f"denseam reproduce{quick} --only {stage}"

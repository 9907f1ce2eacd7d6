"""The run folder as all processes of a run know it: the first reads and writes, others are told.

A checkpoint goes to the disk whole, which takes tens of milliseconds: nothing beside an epoch of
seconds, more than an epoch of a graphics card. So that at most ``SHARE`` of the time is spent on
them, quick epochs wait in memory for the checkpoint of a later one; when a run ends, for whatever
reason short of being killed, what waits is written.
"""

import time
from typing import Any

import torch

from denseam import fronts
from denseam.data import ImageSet
from denseam.errors import FileFormatError
from denseam.training import environment
from denseam.training.learner import Learner
from denseam.training.records import EpochRecord, append_records, read_records, write_records
from denseam.training.runs import Checkpoint, RunFolder

__all__ = ["SHARE", "Keeping"]

SHARE = 0.1  # of the time of a run, for its checkpoints


class Keeping:
    """Keeps what a learner has learned.

    Args:
        learner: memories and velocity.
        folder: of the run; None where nothing is kept, and on all processes but the first.
        kept: whether the first process has a folder.
    """

    def __init__(self, learner: Learner, folder: RunFolder | None, *, kept: bool) -> None:
        self.learner, self.folder, self._kept = learner, folder, kept
        self._records: list[EpochRecord] = []  # of epochs that wait
        self._state: Checkpoint | None = None  # after the last of them
        self._next = 0.0  # when to write again

    def claim(self, images: ImageSet, *, resume: bool) -> dict[str, Any]:
        """Make the folder this run's; returns the environment that the run began in.

        It is the same on all processes.

        Raises:
            RunFolderError: when the folder belongs to another run.
            FileFormatError: when it is damaged.
        """
        learner = self.learner
        here = environment.describe(learner.memories.device, learner.kernel, learner.mesh)
        if self.folder is not None:
            front = fronts.settings(learner.model.front)
            data = {"name": images.name, "digest": images.digest()}
            facts = {"data": data, "environment": here, **front}
            here = self.folder.claim(learner.recipe, facts, resume=resume)["environment"]
        return dict(learner.mesh.told(here)) if self._kept else here

    def load(self) -> list[EpochRecord]:
        """Put the last checkpoint into the learner of every process; returns its epochs.

        Raises:
            FileFormatError: when the folder is damaged.
        """
        if not self._kept:
            return []
        if self.folder is None:
            return self._agree([], None)
        learner, folder = self.learner, self.folder
        shape = torch.Size((learner.n_memories, learner.memories.shape[1]))
        state = folder.load(shape, learner.memories.dtype)
        records = []
        if state is not None:
            records = read_records(folder.records, state.epochs)
            if len(records) != state.epochs:
                raise FileFormatError(
                    f"{folder.records} has {len(records)} whole records, the checkpoint is "
                    f"after epoch {state.epochs}: the run folder is damaged, choose another"
                )
        write_records(folder.records, records)
        return self._agree(records, state)

    def _agree(self, records: list[EpochRecord], state: Checkpoint | None) -> list[EpochRecord]:
        """Spread epochs and memories of the first process to all."""
        learner = self.learner
        told = learner.mesh.told([record.to_json() for record in records])
        if told:
            learner.mesh.scatter(state.memories if state else None, learner.memories)
            learner.mesh.scatter(state.velocity if state else None, learner.velocity)
        return [EpochRecord.from_json(fields) for fields in told]

    def keep(self, record: EpochRecord) -> None:
        """Keep what an epoch came to: on the disk of the first process, or until it goes there.

        Raises:
            SaveError: when it cannot be written.
        """
        if not self._kept:
            return
        learner, epochs = self.learner, record.epoch + 1
        alone = learner.mesh.size == 1  # or the others would have to be told when
        if alone and time.monotonic() < self._next:
            self._records.append(record)
            self._state = Checkpoint(epochs, learner.memories.clone(), learner.velocity.clone())
            return
        memories = learner.mesh.gather(learner.memories, learner.n_memories)
        velocity = learner.mesh.gather(learner.velocity, learner.n_memories)
        if memories is not None and velocity is not None:
            self._records.append(record)
            self._write(Checkpoint(epochs, memories, velocity))

    def write_waiting(self) -> None:
        """Write the epochs that wait.

        Raises:
            SaveError: when they cannot be written.
        """
        if self._state is not None:
            self._write(self._state)

    def _write(self, state: Checkpoint) -> None:
        """Records, then checkpoint. They wait no more, also where this fails."""
        start, records = time.monotonic(), self._records
        self._records, self._state = [], None
        if self.folder is not None:
            append_records(self.folder.records, records)
            self.folder.save(state)
        end = time.monotonic()
        self._next = end + (end - start) * (1 / SHARE - 1)

    def finish(self) -> None:
        """The whole model on the first process, and in its folder."""
        learner = self.learner
        if learner.mesh.memory.size > 1:
            whole = learner.mesh.gather(learner.memories, learner.n_memories)
            if whole is not None:
                learner.model.memories.data = whole.to(learner.memories.device)
        if self.folder is not None:
            learner.classifier.save(self.folder.model)

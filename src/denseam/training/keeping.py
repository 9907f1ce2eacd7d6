"""Checkpoints and records of a run, read and written by its first process for all of them.

Writing a checkpoint takes tens of milliseconds: little beside an epoch of seconds, more than an
epoch on a graphics card. So that checkpoints take at most ``SHARE`` of the time, quick epochs wait
in memory for the checkpoint of a later one. Waiting epochs are written when a run ends, for
whatever reason but being killed.
"""

import time
from typing import Any

import torch

from denseam import fronts
from denseam.data import Examples
from denseam.errors import FileFormatError
from denseam.training import environment
from denseam.training.learner import Learner
from denseam.training.records import EpochRecord, append_records, read_records, write_records
from denseam.training.runs import Checkpoint, RunFolder

__all__ = ["SHARE", "Keeping"]

SHARE = 0.1  # of the time of a run, for its checkpoints


class Keeping:
    """The checkpoints and records of a learner.

    Args:
        learner: with memories and velocity.
        folder: of the run, on the first process; None elsewhere, or where nothing is kept.
        kept: whether the first process has a folder.
    """

    def __init__(self, learner: Learner, folder: RunFolder | None, *, kept: bool) -> None:
        self.learner, self.folder, self._kept = learner, folder, kept
        self._records: list[EpochRecord] = []  # of epochs that wait
        self._state: Checkpoint | None = None  # after the last of them
        self._next = 0.0  # when to write again

    def claim(self, images: Examples, *, resume: bool) -> dict[str, Any]:
        """Claim the folder for this run; return the environment that the run began in.

        The result is the same on all processes.

        Raises:
            RunFolderError: when the folder belongs to another run.
            FileFormatError: when it is damaged.
        """
        learner = self.learner
        here = environment.describe(learner.memories.device, learner.kernel, learner.mesh)
        if self.folder is not None:
            front = fronts.settings(learner.model.front)
            data = {"name": images.name, "digest": images.digest()}
            if "read" in images.metadata:  # where `denseam train` has them from
                data["read"] = images.metadata["read"]
            facts = {"data": data, "environment": here, **front}
            if learner.began is not None:
                facts["start"] = learner.began
            here = self.folder.claim(learner.recipe, facts, resume=resume)["environment"]
        return dict(learner.mesh.told(here)) if self._kept else here

    def load(self) -> list[EpochRecord]:
        """Put the last checkpoint into the learner of every process; return its records.

        Raises:
            FileFormatError: when the folder is damaged.
        """
        if not self._kept:
            return []
        if self.folder is None:
            return self._agree([], None)
        learner, folder = self.learner, self.folder
        shape = torch.Size((learner.n_memories, learner.memories.shape[1]))
        others = {name: x.shape for name, x in learner.tensors().items() if "front." in name}
        state = folder.load(shape, learner.memories.dtype, others)
        records = []
        if state is not None:
            if missing := learner.tensors().keys() - state.tensors().keys():
                raise FileFormatError(f"{folder.checkpoint} has no {', '.join(sorted(missing))}")
            records = read_records(folder.records, state.epochs)
            if len(records) != state.epochs:
                raise FileFormatError(
                    f"{folder.records} has {len(records)} whole records, the checkpoint is "
                    f"after epoch {state.epochs}: the run folder is damaged, choose another"
                )
        write_records(folder.records, records)
        return self._agree(records, state)

    def _agree(self, records: list[EpochRecord], state: Checkpoint | None) -> list[EpochRecord]:
        """Send records and state of the first process to all; return the records."""
        learner = self.learner
        fields = learner.mesh.told([record.to_json() for record in records])
        if fields:
            whole = state.tensors() if state else {}
            for name, tensor in learner.tensors().items():
                learner.mesh.scatter(whole.get(name), tensor)
        return [EpochRecord.from_json(each) for each in fields]

    def keep(self, record: EpochRecord) -> None:
        """Write the state after an epoch to the disk, or keep it until a later epoch is written.

        Raises:
            SaveError: when it cannot be written.
        """
        if not self._kept:
            return
        learner, epochs = self.learner, record.epoch + 1
        alone = learner.mesh.size == 1  # several processes would have to agree when to write
        if alone and time.monotonic() < self._next:
            self._records.append(record)
            self._state = Checkpoint.of(epochs, learner.state())
            return
        whole = {
            name: learner.mesh.gather(tensor, learner.n_memories)
            for name, tensor in learner.tensors().items()
        }
        tensors = {name: tensor for name, tensor in whole.items() if tensor is not None}
        if tensors:
            self._records.append(record)
            self._write(Checkpoint.of(epochs, tensors))

    def write_waiting(self) -> None:
        """Write the epochs that wait.

        Raises:
            SaveError: when they cannot be written.
        """
        if self._state is not None:
            self._write(self._state)

    def _write(self, state: Checkpoint) -> None:
        """Write records, then the checkpoint; nothing waits any more, even if this fails."""
        start, records = time.monotonic(), self._records
        self._records, self._state = [], None
        if self.folder is not None:
            append_records(self.folder.records, records)
            self.folder.save(state)
        end = time.monotonic()
        self._next = end + (end - start) * (1 / SHARE - 1)

    def finish(self) -> None:
        """Gather the whole model on the first process, and save it in its folder."""
        learner = self.learner
        learner.ship()
        if learner.mesh.memory.size > 1:
            whole = learner.mesh.gather(learner.model.memories.data, learner.n_memories)
            if whole is not None:
                learner.model.memories.data = whole.to(learner.memories.device)
        if self.folder is not None:
            learner.classifier.save(self.folder.model)

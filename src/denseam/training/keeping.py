"""The run folder as all processes of a run know it: the first reads and writes, others are told."""

import torch

from denseam.data import ImageSet
from denseam.errors import FileFormatError
from denseam.training import environment
from denseam.training.learner import Learner
from denseam.training.records import EpochRecord, append_record, read_records, write_records
from denseam.training.runs import Checkpoint, RunFolder

__all__ = ["Keeping"]


class Keeping:
    """Keeps what a learner has learned.

    Args:
        learner: memories and velocity.
        folder: of the run; None where nothing is kept, and on all processes but the first.
        kept: whether the first process has a folder.
    """

    def __init__(self, learner: Learner, folder: RunFolder | None, *, kept: bool) -> None:
        self.learner, self.folder, self._kept = learner, folder, kept

    def take_up(self, images: ImageSet, *, resume: bool) -> tuple[list[EpochRecord], list[str]]:
        """The epochs that are done, and what is otherwise than when they were, in words.

        Raises:
            RunFolderError: when the folder belongs to another run.
            FileFormatError: when it is damaged.
        """
        if not self._kept:
            return [], []
        if self.folder is None:
            return self._agree([], None), []
        learner, folder = self.learner, self.folder
        here = environment.describe(learner.memories.device, learner.kernel, learner.mesh)
        data = {"name": images.name, "digest": images.digest()}
        found = folder.claim(learner.recipe, {"data": data, "environment": here}, resume=resume)
        learner.kernel = environment.kernel_as_before(learner.kernel, found["environment"])
        here = environment.describe(learner.memories.device, learner.kernel, learner.mesh)
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
        return self._agree(records, state), environment.changes(found["environment"], here)

    def _agree(self, records: list[EpochRecord], state: Checkpoint | None) -> list[EpochRecord]:
        """The same product, epochs and memories on all processes: those of the first."""
        learner = self.learner
        product = getattr(learner.kernel, "product", None)
        told = learner.mesh.told(
            {
                "records": [record.to_json() for record in records],
                "environment": {"kernel": learner.kernel.name, "product": product},
            }
        )
        learner.kernel = environment.kernel_as_before(learner.kernel, told["environment"])
        if told["records"]:
            learner.mesh.scatter(state.memories if state else None, learner.memories)
            learner.mesh.scatter(state.velocity if state else None, learner.velocity)
        return [EpochRecord.from_json(fields) for fields in told["records"]]

    def keep(self, record: EpochRecord) -> None:
        """Record and checkpoint of an epoch, on the disk of the first process.

        Raises:
            SaveError: when they cannot be written.
        """
        if not self._kept:
            return
        learner = self.learner
        memories = learner.mesh.gather(learner.memories, learner.n_memories)
        velocity = learner.mesh.gather(learner.velocity, learner.n_memories)
        if self.folder is not None and memories is not None and velocity is not None:
            append_record(self.folder.records, record)
            self.folder.save(Checkpoint(record.epoch + 1, memories, velocity))

    def finish(self) -> None:
        """The whole model on the first process, and in its folder."""
        learner = self.learner
        if learner.mesh.memory.size > 1:
            whole = learner.mesh.gather(learner.memories, learner.n_memories)
            if whole is not None:
                learner.model.memories.data = whole.to(learner.memories.device)
        if self.folder is not None:
            learner.classifier.save(self.folder.model)

"""What the processes of tests/training/test_ranks.py run, under torchrun: python ranks_job.py OUT.

Trains the toy problem on every mesh that so many processes can form; the first process writes what
came of it to OUT/MEMORY_RANKS.json, and how many bytes were sent.
"""

import json
import os
import sys
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
from tests.training import small

from denseam import Callback, train
from denseam.mesh import start

SIZES = {"epochs": 5, "n_memories": 13, "per_class": 5}  # 20 steps; 13 memories do not divide

DYING = {"power": 2, "n_memories": 40, "learning_rate": 1.0, "epochs": 1}


class Sent(Callback):
    """Bytes given to reductions in each batch, by axis."""

    def __init__(self, mesh) -> None:
        self.mesh, self.before, self.batches = mesh, (0, 0), []

    def on_batch(self, epoch, batch) -> None:
        now = (self.mesh.data.sent, self.mesh.memory.sent)
        self.batches.append([a - b for a, b in zip(now, self.before, strict=True)])
        self.before = now


def run(mesh, out: Path, **fields) -> None:
    sent = Sent(mesh)
    recipe = small.recipe(**{**SIZES, **fields})
    result = train(recipe, small.dataset(), callbacks=[sent], mesh=mesh)
    whole = [None] * mesh.size
    dist.all_gather_object(whole, result.model.memories.tolist())
    if mesh.first:
        report = {
            "records": [record.to_json() for record in result.records],
            "memories": whole[0],
            "others": whole[1:],
            "sent": sent.batches,
            "mesh": str(mesh),
        }
        out.write_text(json.dumps(report))


def main(out: Path) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo")
    size = int(os.environ["WORLD_SIZE"])
    for memory_ranks in (m for m in (1, 2, 4) if size % m == 0):
        with start(memory_ranks) as mesh:
            for power in (2, 30):
                run(mesh, out / f"{size}-{memory_ranks}-n{power}.json", power=power)
            name = f"{size}-{memory_ranks}"
            run(mesh, out / f"{name}-dying.json", **DYING)
            if memory_ranks > 1:
                run(mesh, out / f"{name}-many.json", power=30, n_memories=52)
                run(mesh, out / f"{name}-binarised.json", power=3, binarised=True)
            else:
                run(mesh, out / f"{size}-1-relu.json", power=2, network="relu")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

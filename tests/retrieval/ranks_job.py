"""What the processes of test_ranks.py run, under torchrun: python ranks_job.py OUT.

Retrieves with every energy, the patterns shared among all processes; each writes its results.
"""

import json
import os
import sys
from pathlib import Path

from tests.retrieval.problems import SPACE, SUMMED, normal, signs

from denseam.mesh import Mesh, start
from denseam.retrieval import AssociativeMemory

CASES = [*((F, "space") for F in SPACE), *((F, "box") for F in SUMMED)]


def results(mesh: Mesh | None) -> list[dict]:
    """Return energies, updates, ends and nearest patterns, as JSON."""
    patterns = normal(23, 9).clamp(-1, 1)
    patterns[20] = patterns[3]  # on another process: the first one is nearest
    states = (patterns[::4] + 0.1 * normal(6, 9, seed=1)).clamp(-1, 1)
    rows = []
    for F, domain in CASES:
        memory = AssociativeMemory.store(patterns, F, domain=domain, mesh=mesh)
        result = memory.retrieve(states, max_steps=5)
        change = memory.depends_on([4], states, max_steps=5)
        rows.append({
            "energy": memory.energy(states).tolist(), "states": result.states.tolist(),
            "nearest": result.nearest.tolist(), "twin": memory.nearest(patterns[[20]]).tolist(),
            "depends": change.depends.tolist(),
        })  # fmt: skip
    bits = AssociativeMemory.store(signs(8, 12), 3, mesh=mesh)
    rows.append({"states": bits.retrieve(signs(3, 12, seed=2)).states.tolist()})
    return rows


if __name__ == "__main__":
    out = Path(sys.argv[1])
    with start(int(os.environ["WORLD_SIZE"])) as mesh:
        (out / f"{mesh.rank}.json").write_text(json.dumps(results(mesh)))

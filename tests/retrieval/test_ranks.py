"""Patterns shared among processes on loopback: the results of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.retrieval import ranks_job
from tests.retrieval.problems import signs

from denseam.errors import InputError
from denseam.mesh import Axis, Mesh
from denseam.retrieval import AssociativeMemory

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}


@pytest.mark.slow
def test_processes_that_share_patterns_retrieve_what_one_does(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    job = [*torchrun, "--nproc-per-node", "2", str(Path(ranks_job.__file__)), str(tmp_path)]
    subprocess.run(job, env=ENVIRONMENT, check=True, capture_output=True, timeout=200)
    there = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert there[0] == there[1]
    alone = ranks_job.results(None)
    assert len(alone) == len(there[0])
    for one, shared in zip(alone, there[0], strict=True):
        for name, values in one.items():
            torch.testing.assert_close(torch.tensor(shared[name]), torch.tensor(values))


def test_more_processes_than_patterns_are_refused():
    with pytest.raises(InputError, match="3 patterns for 4 processes"):
        AssociativeMemory.store(signs(3, 5), 3, mesh=Mesh(memory=Axis("memory", 0, 4)))

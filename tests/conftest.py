"""The same random numbers in every run, and torch left as it was found."""

import os
from collections.abc import Iterator

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # A worker per core: one that waited for the threads of another would only keep it from
    # working. PyTorch reads it when it is imported, and processes that tests start inherit it.
    os.environ["OMP_NUM_THREADS"] = "1"

import torch
from hypothesis import settings

if not torch.cuda.is_available():
    # Triton looks at it when it is imported and when a kernel is defined: before any test.
    os.environ["TRITON_INTERPRET"] = "1"

settings.register_profile("denseam", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("denseam")


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    """A fixed seed before each test, and the number of threads restored after it."""
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    yield
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)

"""Times of forms that take turns, and the memory that a call takes at its peak."""

import contextlib
import ctypes
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

# Seconds. After 0.03 OpenBLAS's threads still spin, and a product beside them takes 11 ms, not 3.
_REST = 0.2
_REPEATS = 20  # steps of a turn on a card: launching and waiting must not count


def milliseconds(
    steps: Mapping[str, Callable[[], object]],
    rounds: int,
    budget: float = 2.0,
    device: torch.device | None = None,
) -> dict[str, float]:
    """Return the median wall time of each step, in milliseconds.

    All take turns in every round, so that other work of the machine falls on all of them alike.
    Before its turn each waits until the threads of the one before have gone to sleep (those of
    NumPy and PyTorch spin for a while), and runs once untimed to wake its own.
    A step that has spent ``budget`` seconds sits out the rest. On a card a turn is several steps
    in a row.
    """
    repeats = 1 if device is None or device.type == "cpu" else _REPEATS

    def turn(step: Callable[[], object]) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            step()
        if repeats > 1:
            torch.cuda.synchronize(device)
        return (time.perf_counter() - start) / repeats

    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            if sum(seconds[name]) < budget or len(seconds[name]) < 2:
                time.sleep(_REST)
                step()
                seconds[name].append(turn(step))
    return {name: 1000 * statistics.median(values) for name, values in seconds.items()}


def peak_bytes(step: Callable[[], object], device: torch.device | None = None) -> int:
    """Return how much memory a call takes at its peak, on a card or of the process.

    The memory of the process is sampled every 0.2 ms. The call runs twice: in the first run
    libraries set up what they keep. What the allocator holds back of it goes to the system in
    between, so that the second run has to ask again.
    """
    step()
    if device is not None and device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        return torch.cuda.max_memory_allocated(device) - before
    _give_back()
    before = _resident()
    highest = before
    done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.0002):
            highest = max(highest, _resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        step()
    finally:
        done.set()
        watcher.join()
    return max(highest, _resident()) - before


def _give_back() -> None:
    with contextlib.suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096

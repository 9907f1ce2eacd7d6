"""A mesh of processes, as `torchrun` starts them, that share images and memories.

The mesh has D data ranks times M memory ranks. Processes in a row see the same images of every
minibatch and hold different memories; processes in a column hold the same memories and see
different images. Of B images and K memories a process has B/D and K/M. `docs/scaling.md` has the
costs.

    rank = M * data rank + memory rank

Processes send tensors, and JSON as bytes; never a pickle.
"""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.rendezvous import rendezvous

from denseam.checks import whole
from denseam.errors import InputError, LostRankError

__all__ = ["Axis", "Mesh", "launched", "own_device", "start"]


@dataclass
class Axis:
    """The processes along one direction of a mesh."""

    name: str  # of what is divided: "data" or "memory"
    rank: int = 0
    size: int = 1
    group: dist.ProcessGroup | None = None
    sent: int = field(default=0, compare=False)  # bytes of all tensors reduced so far

    def part(self, count: int) -> slice:
        """Return the range of ``count`` things for this process; lengths differ by one at most."""
        return _part(count, self.rank, self.size)

    def add(self, x: Tensor) -> Tensor:
        """Sum over all processes of the axis, in place."""
        return self._reduce(x, dist.ReduceOp.SUM)

    def largest(self, x: Tensor) -> Tensor:
        """Take the elementwise maximum over all processes of the axis, in place."""
        return self._reduce(x, dist.ReduceOp.MAX)

    def _reduce(self, x: Tensor, operation: Any) -> Tensor:
        if self.size > 1:
            self.sent += x.numel() * x.element_size()
            with _talking():
                dist.all_reduce(x, operation, group=self.group)
        return x


@dataclass
class Mesh:
    """All processes of a job, from ``start``; ``Mesh()`` is one process alone."""

    data: Axis = field(default_factory=lambda: Axis("data"))
    memory: Axis = field(default_factory=lambda: Axis("memory"))
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    store: Any = None  # of ``torch.distributed``: numbers that all processes can read

    @property
    def rank(self) -> int:
        """Return the position of this process among all."""
        return self.data.rank * self.memory.size + self.memory.rank

    @property
    def size(self) -> int:
        """Return the number of processes."""
        return self.data.size * self.memory.size

    @property
    def first(self) -> bool:
        """Return whether this process reads and writes files, and prints."""
        return self.rank == 0

    def __str__(self) -> str:
        return "1" if self.size == 1 else f"{self.data.size} data x {self.memory.size} memory"

    def told(self, value: Any) -> Any:
        """Return the value of rank 0, plain JSON, on every process."""
        if self.size == 1:
            return value
        raw = bytearray(json.dumps(value).encode()) if self.first else bytearray()
        length = torch.tensor([len(raw)], device=self.device)
        with _talking():
            dist.broadcast(length, 0)
            raw = raw or bytearray(int(length))
            text = torch.frombuffer(raw, dtype=torch.uint8).to(self.device)
            dist.broadcast(text, 0)
        return json.loads(text.cpu().numpy().tobytes())

    def scatter(self, whole: Tensor | None, part: Tensor) -> None:
        """Fill ``part``, this process's rows of a matrix (K, ...), from the matrix on rank 0."""
        if self.size == 1:
            if whole is not None:
                part.copy_(whole)
            return
        with _talking():
            if not self.first:
                dist.recv(part, 0)
                return
            if whole is None:
                raise RuntimeError("rank 0 has nothing to scatter")
            part.copy_(whole[self.memory.part(len(whole))])
            for rank in range(1, self.size):
                rows = _part(len(whole), rank % self.memory.size, self.memory.size)
                dist.send(whole[rows].to(part).contiguous(), rank)

    def gather(self, part: Tensor, rows: int) -> Tensor | None:
        """Return the matrix (``rows``, ...) whose rows are divided: on rank 0, on the CPU."""
        if self.memory.size == 1:
            return part.cpu() if self.first else None
        if self.data.rank > 0:
            return None
        with _talking():
            if not self.first:
                dist.send(part.contiguous(), 0)
                return None
            whole = torch.empty(rows, *part.shape[1:], dtype=part.dtype)
            for rank in range(self.memory.size):
                place = whole[_part(rows, rank, self.memory.size)]
                if rank == 0:
                    place.copy_(part)
                elif part.device.type == "cpu":
                    dist.recv(place, rank)
                else:
                    arrived = torch.empty_like(place, device=part.device)
                    dist.recv(arrived, rank)
                    place.copy_(arrived)
        return whole

    def speaks(self) -> bool:
        """Return True on the first process that asks: only one reports what went wrong."""
        if self.store is None:
            return True
        try:
            return bool(self.store.add("spoken", 1) == 1)
        except RuntimeError:  # the process that kept the store has died
            return self.first


def launched() -> bool:
    """Return whether `torchrun`, or a program that sets its variables, started this process."""
    return {"RANK", "WORLD_SIZE"} <= os.environ.keys()


@contextlib.contextmanager
def start(memory_ranks: int = 1, device: torch.device | str = "cpu") -> Iterator[Mesh]:
    """Start the mesh of the processes that `torchrun` has started; one process alone without it.

    ``torch.distributed`` is started (gloo for CPUs, NCCL for GPUs) and ended, unless it runs
    already. Inside the block, SIGTERM raises ``LostRankError``.

    Args:
        memory_ranks: M, the processes that divide the memories; the rest divide the images.
        device: "cpu", or "cuda" for the GPU of this process's local rank.

    Raises:
        InputError: when the number of processes is no multiple of ``memory_ranks``, or a variable
            of `torchrun` has a value that it never sets.
        LostRankError: when the others cannot be reached.
    """
    running = dist.is_available() and dist.is_initialized()
    processes = dist.get_world_size() if running else _world()
    memory_ranks = whole("memory_ranks", memory_ranks)
    if processes % memory_ranks:
        raise InputError(
            f"memory_ranks = {memory_ranks} with {processes} "
            f"process{'es' if processes > 1 else ''}: wanted a divisor of their number. "
            "Processes are started by: torchrun --nproc-per-node COUNT -m denseam ..."
        )
    if not running and not launched():
        yield Mesh()
        return
    here = torch.device(own_device(device))
    with _sigterm_as_error():
        store = None if running else _join(here)
        try:
            shape = (processes // memory_ranks, memory_ranks)
            with _talking():
                mesh = init_device_mesh(here.type, shape, mesh_dim_names=("data", "memory"))
            data, memory = (
                Axis(name, mesh.get_local_rank(name), size, mesh.get_group(name))
                for name, size in zip(("data", "memory"), shape, strict=True)
            )
            yield Mesh(data, memory, here, store)
        finally:
            if not running:
                dist.destroy_process_group()


def _world() -> int:
    return _variable("WORLD_SIZE", 1) if launched() else 1


def own_device(device: torch.device | str) -> str:
    """Return the device of this process: of several GPUs the one of its local rank.

    Raises:
        InputError: when ``LOCAL_RANK`` is not a number.
    """
    if not launched() or str(device) != "cuda":
        return str(device)
    return f"cuda:{_variable('LOCAL_RANK', 0) if 'LOCAL_RANK' in os.environ else 0}"


def _variable(name: str, least: int, most: int | None = None) -> int:
    """Return a number that `torchrun` has set; InputError for any other value."""
    text = os.environ.get(name, "")
    number = int(text) if text.isdecimal() and len(text) < 20 else -1
    if number < least or (most is not None and number > most):
        limits = f">= {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"{name} = {text!r} in the environment: wanted a whole number {limits}")
    return number


def _check_meeting_point() -> None:
    """Check the variables that name this process and the address of rank 0."""
    _variable("RANK", 0, _world() - 1)
    _variable("MASTER_PORT", 0, 2**16 - 1)
    if not os.environ.get("MASTER_ADDR"):
        raise InputError("MASTER_ADDR is not in the environment: wanted the address of rank 0")


def _join(device: torch.device) -> Any:
    backend = "nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
    _check_meeting_point()
    with _talking():
        store, rank, size = next(rendezvous("env://"))
        # One for each start: after a restart by torchrun no process has reported anything yet.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        prefixed = dist.PrefixStore(  # type: ignore[attr-defined]
            f"denseam-{attempt}", store
        )
        dist.init_process_group(backend, store=prefixed, rank=rank, world_size=size)
    return prefixed


@contextlib.contextmanager
def _talking() -> Iterator[None]:
    """Turn any error between processes into a ``LostRankError``."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if isinstance(error, LostRankError):
            raise
        _ignore_sigterm()
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise LostRankError(
            f"another process of the job has died, or cannot be reached ({reason})"
        ) from error


@contextlib.contextmanager
def _sigterm_as_error() -> Iterator[None]:
    """Raise on SIGTERM, which `torchrun` sends to the others when a process has failed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # None: not set by Python


def _stop(number: int, frame: FrameType | None) -> None:
    del number, frame
    _ignore_sigterm()
    raise LostRankError("told to stop: another process of the job has died, or was ended")


def _ignore_sigterm() -> None:
    """Ignore further SIGTERMs, so that the error can be reported; torchrun gives 30 seconds."""
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGTERM) is _stop:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _part(count: int, rank: int, size: int) -> slice:
    """Return a range as ``torch.tensor_split`` does: the first ones may be longer by one."""
    length, longer = divmod(count, size)
    start = rank * length + min(rank, longer)
    return slice(start, start + length + (rank < longer))

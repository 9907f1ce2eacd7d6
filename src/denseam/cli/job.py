"""Commands as jobs of several processes, which `torchrun` starts."""

import contextlib
from collections.abc import Iterator

from denseam import mesh
from denseam.classifier import check_device
from denseam.cli.common import say_error, stderr
from denseam.errors import DenseAMError
from denseam.mesh import Mesh

__all__ = ["job"]


@contextlib.contextmanager
def job(command: str, device: str, memory_ranks: int = 1) -> Iterator[Mesh]:
    """The processes of a command. What goes wrong is said once, by the first that knows."""
    check_device(device)
    with mesh.start(memory_ranks, device) as found:
        try:
            yield found
        except DenseAMError as error:
            if found.size == 1:
                raise
            # Here, while the others wait for it: torchrun ends them all as soon as one has ended.
            if found.speaks():
                stderr.quiet = False
                say_error(command, error)
            raise SystemExit(2) from error

"""The explorer: a page that draws digits for four memories and shows what they make of them.

Everything runs in the browser, in plain JavaScript: ``page/memory.js`` has the energies,
``page/centring.js`` what ``denseam.fronts.centring`` does to a drawing. A folder of files is all it
needs, ``write`` makes one, and any web server can offer it; ``server`` is one.
"""

import functools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from denseam import data
from denseam.errors import InputError, SaveError
from denseam.files import write_bytes
from denseam.pretrained import shipped_file

__all__ = ["PAGE", "server", "write"]

PAGE = Path(__file__).parent / "page"
"""The files of the page; the guard's page shares its canvas."""

_MODELS = ("mnist-n2", "mnist-n3", "mnist-n20", "mnist-n30")  # those of page/app.js
_DIGITS = 10  # examples, one of each class


def write(folder: Path) -> None:
    """Write the explorer into a folder: the page, four models in float16 and some digits, 13 MB.

    Raises:
        SaveError: when it cannot be written.
    """
    try:
        (folder / "models").mkdir(parents=True, exist_ok=True)
        for source in sorted(PAGE.iterdir()):
            shutil.copyfile(source, folder / source.name)
        for name in _MODELS:
            shutil.copyfile(shipped_file(name), folder / "models" / f"{name}.safetensors")
    except OSError as error:
        raise SaveError(f"{folder} could not be written: {error.strerror or error}") from error
    test = data.load("mnist").test
    first = [int((test.labels == label).nonzero()[0]) for label in range(_DIGITS)]
    write_bytes(folder / "digits.u8", test.images[first].numpy().tobytes())


class _Files(SimpleHTTPRequestHandler):
    """Files of a folder, whose types do not depend on the system's."""

    extensions_map: dict[str, str] = {  # noqa: RUF012 (as its base declares it)
        ".html": "text/html", ".js": "text/javascript", ".css": "text/css",
        ".svg": "image/svg+xml", "": "application/octet-stream",
    }  # fmt: skip

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def server(port: int) -> Iterator[ThreadingHTTPServer]:
    """Return a server of the explorer on the loopback interface; ``serve_forever`` starts it.

    Args:
        port: to listen on; 0 for any free one.

    Raises:
        InputError: for a port that cannot be had.
    """
    with TemporaryDirectory(prefix="denseam-explorer-") as folder:
        write(Path(folder))
        handler = functools.partial(_Files, directory=folder)
        try:
            opened = ThreadingHTTPServer(("127.0.0.1", port), handler)
        except (OSError, OverflowError) as error:
            raise InputError(f"port {port}: {error}") from error
        with opened:
            yield opened
